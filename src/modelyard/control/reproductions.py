"""Reproductions: make one captured prediction once more, by the image that made it."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime
from typing import NamedTuple

import orjson
from pydantic import JsonValue

from modelyard.control.background import Background, Job
from modelyard.control.captures import Captures
from modelyard.domain.image import Image
from modelyard.domain.operation import Operation, OperationKind
from modelyard.domain.principal import Principal
from modelyard.domain.replay import Recorded
from modelyard.domain.reproduction import changed_since, reproduce, settings_then
from modelyard.domain.service import ReplicaSettings
from modelyard.domain.values import Reference
from modelyard.errors import Conflict, InvalidRequest, NotFound
from modelyard.images.builder import ImageBuilder
from modelyard.monitoring.candidate import Candidate
from modelyard.monitoring.jobs import RECORDED
from modelyard.schemas import AskCaptured, ReproducePrediction
from modelyard.store import Database, Transaction

_PURPOSE = "reproduce"
_PATIENCE = 30.0
_ID = re.compile(r"[A-Za-z0-9._:-]{1,200}")
_FIND = f"SELECT {RECORDED}, service FROM requests WHERE prediction_id = '{{}}'"  # noqa: S608


class _Past(NamedTuple):
    """A prediction, and what is known of how it was made."""

    recorded: Recorded
    service: str
    image: Image
    settings: ReplicaSettings
    circumstances: tuple[str, ...]


class Reproductions:
    """What callers may have made once more.

    Args:
        database: Services and images.
        background: Does the work.
        builder: Starts images.
        captures: The predictions.
    """

    def __init__(
        self,
        database: Database,
        background: Background,
        builder: ImageBuilder,
        captures: Captures,
    ) -> None:
        self._database = database
        self._background = background
        self._builder = builder
        self._captures = captures

    def begin(
        self, principal: Principal, prediction: str, request: ReproducePrediction
    ) -> Operation:
        """Begin to make a prediction once more; the operation's result is a `Reproduction`.

        Raises:
            NotFound: There is no record of it, or its image was deleted.
            Conflict: Its input is not recorded, no image is known to have answered, or too many
                wait already.
        """
        recorded, service = self._find(principal, prediction)
        why = recorded.why_not_sent(altered=True)
        if why is not None:
            raise Conflict(
                f"prediction `{prediction}` cannot be made once more: its input is not recorded "
                f"({why})",
                hint="what is not kept of requests, and why, is in docs/concepts/capture.md",
            )
        with self._database.read() as tx:
            image = _image(tx, principal, recorded)
            settings, circumstances = _circumstances(tx, principal, service, recorded)
        with self._database.write() as tx:
            self._background.refuse_more(tx, principal.workspace, OperationKind.IMAGE_REPRODUCE)
            operation = tx.operations.add(
                principal.workspace,
                OperationKind.IMAGE_REPRODUCE,
                f"image {image.reference}",
                principal.name,
            )
        past = _Past(recorded, service, image, settings, circumstances)
        self._background.begin(operation, lambda job: self._reproduce(job, past, request))
        return operation

    def _find(self, principal: Principal, prediction: str) -> tuple[Recorded, str]:
        if not _ID.fullmatch(prediction):
            raise InvalidRequest(
                f"`{prediction[:200]}` is not the id of a prediction",
                hint="an answer has it as `x-prediction-id`",
            )
        with self._captures.ask(principal, AskCaptured(sql=_FIND.format(prediction))) as path:
            rows = orjson.loads(path.read_bytes())["rows"]
        if not rows:
            raise NotFound(
                f"there is no record of prediction `{prediction}`",
                hint="records come in some seconds after their requests; `modelyard capture query "
                '"SELECT time, prediction_id FROM requests"` shows those there are',
            )
        *fields, service = rows[0]
        recorded = Recorded(*fields)
        return (
            recorded._replace(
                time=datetime.fromisoformat(fields[1]),
                input=_bytes(recorded.input),
                output=_bytes(recorded.output),
            ),
            service,
        )

    def _reproduce(self, job: Job, past: _Past, request: ReproducePrediction) -> JsonValue:
        manifest, recorded = past.image.built_manifest(), past.recorded
        patience = past.settings.scoring_timeout + _PATIENCE
        with (
            # From the last to the first: a step ends with the replica that it waits for.
            ThreadPoolExecutor(1) as executor,
            self._builder.started(
                manifest, past.image.signature, past.settings, _PURPOSE, job.log_replica
            ) as watch,
            closing(Candidate(watch.trial.socket, patience)) as candidate,
        ):
            answers = []
            for _ in range(request.runs):
                watch.deadline = time.monotonic() + patience + _PATIENCE
                scored = executor.submit(
                    candidate.score, recorded.path, recorded.input_type, recorded.input or b""
                )
                answers.append(watch.until_done(scored)[0])
        found = reproduce(
            recorded,
            answers,
            request.tolerance,
            service=past.service,
            digest=manifest.digest,
            circumstances=past.circumstances,
        )
        job.log(found.verdict)
        kept: JsonValue = found.model_dump(mode="json")
        return kept


def _bytes(text: object) -> bytes | None:
    """Those that an answer in JSON has in hexadecimal."""
    return bytes.fromhex(text) if isinstance(text, str) else None


def _image(tx: Transaction, principal: Principal, recorded: Recorded) -> Image:
    if not recorded.image:
        raise Conflict(
            f"no image is known to have answered prediction `{recorded.prediction_id}`",
            hint=f"the answer was the gateway's own: `{recorded.code}`",
        )
    try:
        image = tx.images.get(principal.workspace, Reference.parse(recorded.image, "image"))
    except NotFound as error:
        raise NotFound(
            f"image `{recorded.image}`, which has answered prediction "
            f"`{recorded.prediction_id}`, is not here any more",
            hint="images are kept as long as nobody deletes them; numbers are never given again",
        ) from error
    image.built_manifest()
    return image


def _circumstances(
    tx: Transaction, principal: Principal, name: str, recorded: Recorded
) -> tuple[ReplicaSettings, tuple[str, ...]]:
    """The settings that its replica is to have, and what is not as it was."""
    try:
        service = tx.services.get(principal.workspace, name)
    except NotFound:
        return ReplicaSettings(), (
            f"Service `{name}` is gone: its settings and variables are not known any more.",
        )
    now = service.settings.for_replica()
    found = []
    then = settings_then(tx.services.history(service.id), recorded.image, recorded.time)
    if then is None:
        then = now
        found.append(
            f"The settings that `{name}` had are not known any more: the image got those of now."
        )
    elif changed := changed_since(then, now):
        found.append(
            f"Settings of `{name}` have changed since: {', '.join(changed)}; the image got those "
            "of then."
        )
    if service.target != "local":
        found.append(f"It had run on the target `{service.target}`; now it ran as a process.")
    return then, tuple(found)
