"""Sends captured records home: has closed segments sealed, sends the files, and then deletes them.

Sealing is a process of its own. What a file is called follows from its segment, so whatever is
killed, and whenever, the server gets each record once. Files are numbered as pieces of logs are:
see `shipper`.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Protocol
from uuid import UUID

from pydantic import TypeAdapter, ValidationError

from modelyard.agent.desired import DesiredStore
from modelyard.agent.drivers.base import Replica
from modelyard.agent.gateway.feedback import FOLDER as FEEDBACK
from modelyard.capture.damaged import keep_damaged
from modelyard.capture.jobs import Job, KnownDeployment, OpenSegment
from modelyard.domain.captured import Segment, Tally
from modelyard.domain.columns import Columns
from modelyard.domain.desired import DesiredService, DesiredState
from modelyard.errors import Conflict, IntegrityError, PermissionDenied, Unavailable
from modelyard.files import replace_file
from modelyard.schemas import CaptureReceipt, CaptureReport
from modelyard_runtime.capture import tallies
from modelyard_runtime.capture.segments import open_closed, segments_in

log = logging.getLogger(__name__)

_PATIENCE = 300.0
"""Seconds that one round of sealing may take."""
_MOST_OUTGOING = 1 << 30
"""Bytes of sealed files that wait for the server; beyond them segments stay as they are, and the
bounds of those who write them hold."""
_MOST_KNOWN = 10_000
_MOST_WRITERS = 3000
"""Of one folder: two for each of as many workers as there may be, and more is a script's doing."""
_MOST_TALLIES = 10_000
_REPORT_EVERY = 3.0
_SOURCE, _RECORDS = "source.json", "records"
_KNOWN = TypeAdapter(dict[str, KnownDeployment])


class Home(Protocol):
    """Where captured records are sent."""

    def send_captured(
        self, epoch: int, sequence: int, segment: Segment, path: Path
    ) -> CaptureReceipt:
        """Send one file."""

    def report_captured(self, report: CaptureReport) -> None:
        """Tell what became of requests."""


@dataclass(frozen=True, slots=True)
class RecordFolder:
    """A folder in which records are written, or were."""

    folder: Path
    name: str
    """Unique on this host."""
    service: UUID
    service_name: str
    deployment: str = ""
    """Of all records in it; empty: each says it."""
    replica: str = ""

    @classmethod
    def of(cls, replica: Replica, folder: Path) -> RecordFolder:
        """Where a replica records."""
        whose = replica.identity
        return cls(
            folder,
            replica.id,
            whose.service,
            whose.service_name,
            str(whose.deployment),
            replica.id,
        )


@dataclass(frozen=True, slots=True)
class Position:
    """How far files were sent: `sequence` is the next, and `pending` is on its way with it."""

    epoch: int
    sequence: int = 0
    pending: str = ""


class CaptureShipper:
    """Seals and sends what is there. Belongs to one thread.

    Args:
        home: The server.
        folder: Its own files.
        gateway: Where the gateway records, with a folder for each service.
        desired: Tells of deployments.
    """

    def __init__(self, home: Home, folder: Path, gateway: Path, desired: DesiredStore) -> None:
        self._home = home
        self._outbox = folder / "outbox"
        self._ended = folder / "ended"
        self._place = folder / "position.json"
        self._deployments = folder / "deployments.json"
        for made in (self._outbox, self._ended):
            made.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._gateway = gateway
        self._desired = desired
        self._position = _read_position(self._place)
        self._known = _read_known(self._deployments)
        self._seen: DesiredState | None = None
        self._reported: CaptureReport | None = None
        self._reported_at = 0.0

    def keep(self, source: RecordFolder) -> None:
        """Take over the records of a replica that has ended, before its folder goes.

        Called from another thread; renaming is all it does.
        """
        if not source.folder.is_dir():
            return
        told = self._ended / f"{source.name}.{time.time_ns()}"
        told.mkdir(mode=0o700)
        document = {**asdict(source), "service": str(source.service), "folder": ""}
        replace_file(told / _SOURCE, json.dumps(document))
        source.folder.rename(told / _RECORDS)

    def pump(self, replicas: Iterable[RecordFolder]) -> None:
        """Seal, send and report what is there now.

        Raises:
            Unavailable: The server takes nothing now; the rest stays for later.
        """
        self._learn()
        self._seal([*replicas, *self._gateway_sources(), *self._ended_sources()])
        try:
            self._send_all()
        finally:  # also what cannot be sent is told of
            self._report(replicas)

    def _learn(self) -> None:
        """Remember what is to be said of the records of each deployment, also when it is gone."""
        current = self._desired.current
        if current is None or current is self._seen:
            return
        known = {**self._known, **deployments_of(current)}
        if known != self._known:
            self._known = dict(list(known.items())[-_MOST_KNOWN:])
            replace_file(self._deployments, _KNOWN.dump_json(self._known))
        self._seen = current

    def _gateway_sources(self) -> Iterator[RecordFolder]:
        names = {known.service: known.service_name for known in self._known.values()}
        for folder in _folders(self._gateway):
            service = _uuid(folder.name)
            if service is not None and service in names:
                for kind, inside in (("gateway", folder), ("feedback", folder / FEEDBACK)):
                    name = f"{kind}-{service.hex[:12]}"
                    yield RecordFolder(inside, name, service, names[service])

    def _ended_sources(self) -> Iterator[RecordFolder]:
        for folder in _folders(self._ended):
            try:
                told = json.loads((folder / _SOURCE).read_bytes())
                whose = {"service": UUID(told.pop("service")), "folder": folder / _RECORDS}
                yield RecordFolder(**{**told, **whose})
            except FileNotFoundError:
                continue  # it is being taken over; or it was to be, and nothing is in it
            except (OSError, ValueError, LookupError, TypeError) as error:
                log.error("cannot tell whose records are in %s: %s", folder, error)

    def _seal(self, sources: Iterable[RecordFolder]) -> None:
        if sum(path.stat().st_size for path in self._outbox.glob("*.parquet")) > _MOST_OUTGOING:
            return
        segments = tuple(
            OpenSegment(
                path=path,
                source=source.name,
                service=source.service,
                service_name=source.service_name,
                deployment=source.deployment,
                replica=source.replica,
            )
            for source in sources
            for path in segments_in(source.folder)
            if _is_closed(path)
        )
        if not segments:
            return
        job = Job(outbox=self._outbox, deployments=self._known, segments=segments)
        done = _run_sealing(job)
        said = done.stderr.decode(errors="replace").strip()[-2000:]
        if said:
            log.error("sealing captured records: %s", said)
        if done.returncode:
            raise Unavailable(f"sealing captured records ended with {done.returncode}: {said}")

    def _send_all(self) -> None:
        for manifest in sorted(self._outgoing(), key=self._is_not_pending):
            segment = Segment.model_validate_json(manifest.read_bytes())
            try:
                self._send(segment)
            except PermissionDenied as error:  # it must not hold up all others
                log.error("captured records stay here: %s", error)
                continue
            except (IntegrityError, FileNotFoundError):
                if not self._is_damaged(segment):
                    raise
                log.error("sealed records were damaged here, and are put aside: %s", segment.name)
                keep_damaged(self._sealed(segment), self._outbox, segment.name)
            manifest.unlink()  # first: it stands for both
            self._sealed(segment).unlink(missing_ok=True)

    def _sealed(self, segment: Segment) -> Path:
        return self._outbox / f"{segment.name}.parquet"

    def _is_damaged(self, segment: Segment) -> bool:
        """Whether the file is no longer what was sealed, so that it is refused for ever."""
        try:
            with self._sealed(segment).open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            return True
        return f"sha256:{digest}" != segment.digest

    def _outgoing(self) -> list[Path]:
        return list(self._outbox.glob("[!.]*.json"))

    def _is_not_pending(self, manifest: Path) -> tuple[bool, str]:
        """Sorts files by name, but for the one whose number is taken: that one is sent first."""
        return manifest.stem != self._position.pending, manifest.name

    def _send(self, segment: Segment) -> None:
        position = replace(self._position, pending=segment.name)
        if self._position.pending != segment.name:
            self._keep(position)
        path = self._sealed(segment)
        try:
            receipt = self._home.send_captured(position.epoch, position.sequence, segment, path)
        except Conflict:
            self._begin_epoch()
            raise
        if receipt.next != position.sequence + 1:
            self._begin_epoch()
            raise Unavailable(
                f"file {position.sequence} of captured records was answered with {receipt.next}: "
                "a new epoch begins"
            )
        self._keep(Position(position.epoch, receipt.next))

    def _begin_epoch(self) -> None:
        """One of the two has lost its state. Names tell the server what it has already."""
        self._keep(Position(max(self._position.epoch + 1, int(time.time()))))

    def _keep(self, position: Position) -> None:
        self._position = position
        replace_file(self._place, json.dumps(asdict(position)))

    def _report(self, replicas: Iterable[RecordFolder]) -> None:
        """Tell what was counted, and how much is still here; then forget what has been taken over.

        A folder may be taken over meanwhile: those taken over are looked at last, so that it is
        seen at either place, or at both.
        """
        counted: dict[str, Tally] = {}
        waiting: Counter[UUID] = Counter()
        for folder in (*replicas, *self._gateway_sources()):
            _count(folder, counted, waiting)
        ended = tuple(self._ended_sources())
        for folder in ended:
            _count(folder, counted, waiting)
        for manifest in self._outgoing():  # of a sealer that has outlived the agent before
            waiting[Segment.model_validate_json(manifest.read_bytes()).service] += 1
        report = CaptureReport(
            epoch=self._position.epoch,
            tallies=tuple(counted.values())[:_MOST_TALLIES],
            waiting=waiting,
        )
        now = time.monotonic()
        is_news = report != self._reported or now - self._reported_at > _REPORT_EVERY
        if counted and is_news:
            self._home.report_captured(report)
            self._reported, self._reported_at = report, now
        for folder in ended:
            if not segments_in(folder.folder):
                shutil.rmtree(folder.folder.parent, ignore_errors=True)


def _run_sealing(job: Job) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            [sys.executable, "-P", "-m", "modelyard.capture.sealing"],
            input=job.model_dump_json().encode(),
            capture_output=True,
            timeout=_PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"captured records were not sealed within {_PATIENCE:g} s") from None


def _count(folder: RecordFolder, counted: dict[str, Tally], waiting: Counter[UUID]) -> None:
    """Add what is in a folder: counts by the tally's id, and segments."""
    for path in sorted(folder.folder.glob(f"*{tallies.ENDING}"))[:_MOST_WRITERS]:
        counts = tallies.read_tally(path)
        if counts is None:
            continue
        if folder.folder.name == FEEDBACK:  # which counts truths, and no requests
            counts = tallies.Counts(counts.id, 0, 0, 0, 0)
        with suppress(ValidationError):  # nobody has counted that
            counted[counts.id] = Tally(
                **counts._asdict(), service=folder.service, service_name=folder.service_name
            )
    segments = len(segments_in(folder.folder))
    if segments:
        waiting[folder.service] += segments


def _is_closed(path: Path) -> bool:
    """Whether it looks so; the one that seals it makes sure."""
    fd = open_closed(path)
    if fd is None:
        return False
    os.close(fd)
    return True


def deployments_of(state: DesiredState) -> Mapping[str, KnownDeployment]:
    """What is to be said of the records of each deployment, by its id."""
    return {
        str(deployment.id): KnownDeployment(
            service=service.id,
            service_name=service.name,
            image=deployment.image,
            model=next(
                (f"{model.name}:{model.version}" for model in deployment.manifest.models), ""
            ),
            columns=Columns(
                inputs=deployment.columns.inputs.with_texts(_as_texts(service)),
                outputs=deployment.columns.outputs.with_texts(_as_texts(service)),
            ),
        )
        for service in state.services
        for deployment in service.deployments
    }


def _as_texts(service: DesiredService) -> tuple[str, ...]:
    """Fields of which something else than their values is recorded."""
    return service.capture.hashed + service.capture.encrypted if service.capture else ()


def _folders(parent: Path) -> list[Path]:
    try:
        return sorted(path for path in parent.iterdir() if path.is_dir())
    except OSError:
        return []


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _read_position(path: Path) -> Position:
    try:
        return Position(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):  # never sent, or damaged
        return Position(epoch=int(time.time()))


def _read_known(path: Path) -> dict[str, KnownDeployment]:
    try:
        return _KNOWN.validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return {}
