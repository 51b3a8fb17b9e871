"""Replays: score captured requests with another image beside the service, and keep the report."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import orjson
from pydantic import JsonValue

from modelyard.control import programs
from modelyard.control.accepting import built, changed_settings
from modelyard.control.background import Background, Job
from modelyard.control.captures import Captures, refuse_nothing
from modelyard.control.gating import mark, read_replay
from modelyard.domain.columns import Columns, declared_columns
from modelyard.domain.image import Image
from modelyard.domain.operation import Operation, OperationKind
from modelyard.domain.principal import Principal
from modelyard.domain.replay import Found, Replay
from modelyard.domain.service import ReplicaSettings, Service
from modelyard.errors import OperationFailed, Unavailable
from modelyard.images.builder import ImageBuilder
from modelyard.monitoring.jobs import Replaying
from modelyard.schemas import ReplayService
from modelyard.store import Database

_PURPOSE = "replay"
_PATIENCE = 30.0
"""Seconds more than a replica takes for a request after which it counts as gone."""
_LONGEST_READING = 120.0
"""Seconds until the first request is found among the records."""

OnProgress = Callable[[dict[str, Any]], None]


class _Wanted(NamedTuple):
    """All that a replay is about, as it was when it was asked for."""

    principal: Principal
    service: Service
    image: Image
    settings: ReplicaSettings
    request: ReplayService


class Replays:
    """What callers may have scored again.

    Args:
        database: Services, images, and the reports.
        background: Does the work.
        builder: Starts images.
        captures: The requests.
        master_key: Of the server.
        scratch: Folder for what is not kept.
    """

    def __init__(
        self,
        database: Database,
        background: Background,
        builder: ImageBuilder,
        captures: Captures,
        master_key: bytes,
        scratch: Path,
    ) -> None:
        self._database = database
        self._background = background
        self._builder = builder
        self._captures = captures
        self._master_key = master_key
        self._scratch = scratch

    def begin(self, principal: Principal, name: str, request: ReplayService) -> Operation:
        """Begin a replay; it waits for what is measured before. The service is not touched.

        Raises:
            NotFound: There is no such service or image, or nothing was captured of it.
            Conflict: The image is not built, or too many wait already.
            InvalidRequest: A setting is out of bounds.
        """
        with self._database.read() as tx:
            service = tx.services.get(principal.workspace, name)
            image = built(tx, principal, request.image)
        settings = changed_settings(name, service.settings, request.settings).for_replica()
        if not self._captures.segments(principal, name, request.since, request.until):
            has_bounds = bool(request.since or request.until)
            with self._database.read() as tx:
                what = "no captured requests"
                refuse_nothing(tx, principal.workspace, name, what, has_bounds=has_bounds)
        with self._database.write() as tx:
            self._background.refuse_more(tx, principal.workspace, OperationKind.IMAGE_REPLAY)
            operation = tx.operations.add(
                principal.workspace,
                OperationKind.IMAGE_REPLAY,
                f"image {image.reference}",
                principal.name,
            )
        wanted = _Wanted(principal, service, image, settings, request)
        self._background.begin(operation, lambda job: self._replay(job, wanted))
        return operation

    def get(self, principal: Principal, replay: UUID) -> Replay:
        """The report of a replay.

        Raises:
            NotFound: There is none of this id.
            Conflict: It is not finished, or did not get to its end.
        """
        with self._database.read() as tx:
            return read_replay(tx, principal.workspace, replay)

    def _replay(self, job: Job, wanted: _Wanted) -> JsonValue:
        began_at = datetime.now(UTC)
        service, image, request = wanted.service, wanted.image, wanted.request
        manifest = image.built_manifest()
        job.log(f"up to {request.requests} requests to {service.name}, {request.choice} first")
        self._scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (
            # From the last to the first: a step ends with the program that it waits for.
            tempfile.TemporaryDirectory(dir=self._scratch) as aside,
            ThreadPoolExecutor(1) as executor,
            self._builder.started(
                manifest, image.signature, wanted.settings, _PURPOSE, job.log_replica
            ) as watch,
            _program(_job(wanted, self._files(wanted), Path(aside), watch.trial.socket)) as program,
        ):
            patience = wanted.settings.scoring_timeout + 2 * _PATIENCE

            def on_progress(so_far: dict[str, Any]) -> None:
                watch.deadline = time.monotonic() + patience
                job.log(_line(so_far))

            watch.deadline = time.monotonic() + patience + _LONGEST_READING
            found = watch.until_done(executor.submit(program.result, on_progress))
        report = Replay(
            id=job.operation.id,
            service=service.name,
            service_id=service.id,
            image=image.reference,
            digest=manifest.digest,
            choice=request.choice,
            wanted=request.requests,
            since=request.since,
            until=request.until,
            tolerance=request.tolerance,
            max_diff=request.max_diff,
            settings_mark=mark(self._master_key, wanted.settings),
            workers=wanted.settings.workers,
            found=found,
            began_at=began_at,
            ended_at=datetime.now(UTC),
        )
        job.log(report.verdict)
        kept: JsonValue = report.model_dump(mode="json")
        return kept

    def _files(self, wanted: _Wanted) -> tuple[Path, ...]:
        """The records, as they lie now: while a replay waits, files are joined and brought.

        Truths may have been told long after the requests.
        """
        return self._captures.files(wanted.principal, wanted.service.name, wanted.request.since)


def _job(wanted: _Wanted, files: tuple[Path, ...], aside: Path, socket: Path) -> Replaying:
    request, check = wanted.request, wanted.image.check
    return Replaying(
        files=files,
        aside=aside,
        columns=declared_columns(check.openapi) if check else Columns(),
        most=request.requests,
        choice=request.choice,
        since=request.since,
        until=request.until,
        altered=request.altered,
        tolerance=request.tolerance,
        socket=socket,
        concurrency=wanted.settings.workers,
        patience=wanted.settings.scoring_timeout + _PATIENCE,
    )


class _Program:
    """The process that scores, and what it says."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def result(self, on_progress: OnProgress) -> Found:
        """What came of it, once it is done.

        Raises:
            Unavailable: The records cannot be read.
            OperationFailed: The process has ended in the middle.
        """
        assert self._process.stdout is not None
        for line in self._process.stdout:
            said: dict[str, Any] = orjson.loads(line)
            if "found" in said:
                return Found.model_validate(said["found"])
            if "refused" in said:
                raise Unavailable(
                    f"the captured requests cannot be read: {said['refused']}",
                    hint="ask for fewer with --requests, or about a shorter time with --last; "
                    "files may have been deleted meanwhile, for their age or their size",
                )
            on_progress(said)
        raise OperationFailed("the process that replays ended", hint="replay it again")


@contextmanager
def _program(job: Replaying) -> Iterator[_Program]:
    """It ends with the context, and with this process."""
    command = [sys.executable, "-P", "-m", "modelyard.monitoring.replaying"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=programs.environment()
    ) as process:
        try:
            assert process.stdin is not None
            process.stdin.write(job.model_dump_json().encode() + b"\n")
            process.stdin.flush()
            yield _Program(process)
        finally:
            process.kill()


def _line(so_far: dict[str, Any]) -> str:
    return (
        f"{so_far['requests']} requests, {so_far['different']} answered otherwise, "
        f"{so_far['errors']} errors"
    )
