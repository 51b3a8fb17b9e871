"""Replays: captured requests, scored once more by another image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, Unpack
from urllib.parse import quote
from uuid import UUID

from modelyard.client import moving
from modelyard.client.access import service_path
from modelyard.client.connection import Connection
from modelyard.client.images import image_reference
from modelyard.client.operations import OnLog, Operations
from modelyard.client.service_settings import Settings
from modelyard.client.times import so_long_ago
from modelyard.domain.image import Image
from modelyard.domain.operation import Operation, OperationKind
from modelyard.domain.replay import Replay, ReplayGate
from modelyard.domain.reproduction import Reproduction
from modelyard.domain.validation import compose
from modelyard.errors import InvalidRequest, ReplayFailed
from modelyard.schemas import ReplayService, ReproducePrediction


class Replays:
    """Captured requests, scored once more."""

    def __init__(self, connection: Connection, operations: Operations) -> None:
        self._connection = connection
        self._operations = operations

    def run(
        self,
        service: str,
        image: str | Image,
        *,
        requests: int = 1000,
        last: float | str | None = None,
        choice: str = "newest",
        altered: bool = False,
        absolute: float = 1e-5,
        relative: float = 1e-4,
        ignore: Sequence[str] = (),
        max_diff: float | str | None = None,
        on_log: OnLog | None = None,
        **settings: Unpack[Settings],
    ) -> Replay:
        """Score captured requests of a service with another image, and wait for the report.

        The image is started on the server's machine with the settings of the service; the service
        itself is not touched. An interrupt ends it.

        Args:
            service: Its name.
            image: The candidate, `iris:4`, or `iris` for the latest version.
            requests: Most requests that are taken, failures included.
            last: Only those of so long ago: seconds, or text such as `7d`; unset: all there are.
            choice: Which ones, where there are more: `newest`, or `random`, the same ones each
                time.
            altered: Take also those whose inputs a rule has altered.
            absolute: Numbers agree when they differ by no more than this…
            relative: …and this many times the recorded one's size.
            ignore: Members of answers that are not compared: `took`, or `model.loaded`.
            max_diff: Percent of the compared requests that may be answered otherwise, `"2%"`:
                `passed` then says whether it was more. It is false when fewer than half could be
                compared; without `max_diff`, when none could.
            on_log: Called with every line of the operation's log.
            **settings: Settings of the replica that are not those of the service.

        Raises:
            NotFound: There is no such service or image, or nothing was captured of it.
            Conflict: The image is not built.
            OperationFailed: The image did not start, or did not last; `details["cause"]` says why.
        """
        fields = {
            "image": image_reference(image),
            "settings": settings,
            "requests": requests,
            "since": _since(last),
            "choice": choice,
            "altered": altered,
            "tolerance": {"absolute": absolute, "relative": relative, "ignore": list(ignore)},
            "max_diff": max_diff,
        }
        return self.start(service, fields, on_log)

    def get(self, replay: UUID | str) -> Replay:
        """The report of a replay that has got to its end.

        Raises:
            NotFound: There is none of this id.
            Conflict: It is not finished, or did not get to its end.
        """
        return self._connection.get(f"/replays/{_checked(replay)}", Replay)

    def list(self, *, limit: int | None = None) -> tuple[Replay, ...]:
        """The reports of replays that have got to their end, the newest first.

        Args:
            limit: Most that are given; unset: all.
        """
        operations = self._operations.search()
        reports = (
            Replay.model_validate(operation.result)
            for operation in operations
            if operation.kind is OperationKind.IMAGE_REPLAY and operation.result is not None
        )
        return tuple(islice(reports, limit))

    def reproduce(
        self,
        prediction: str,
        *,
        runs: int = 3,
        absolute: float = 1e-5,
        relative: float = 1e-4,
        ignore: Sequence[str] = (),
        on_log: OnLog | None = None,
    ) -> Reproduction:
        """Make one captured prediction once more, by the image that made it, and wait for it.

        The image is started on the server's machine with the settings that the service had then.

        Args:
            prediction: Its id, which the answer has as `x-prediction-id`.
            runs: How often the image is asked: whether it agrees with itself shows only in several.
            absolute: As for `run`.
            relative: As for `run`.
            ignore: As for `run`.
            on_log: Called with every line of the operation's log.

        Raises:
            NotFound: There is no record of it, or its image was deleted.
            Conflict: Its input is not recorded, or no image is known to have answered.
            OperationFailed: The image did not start; `details["cause"]` says why.
        """
        tolerance = {"absolute": absolute, "relative": relative, "ignore": list(ignore)}
        request = compose(
            ReproducePrediction, {"runs": runs, "tolerance": tolerance}, "the reproduction"
        )
        path = f"/predictions/{quote(prediction, safe='')}/reproductions"
        operation = self._connection.create("POST", path, request, Operation, repeatable=False)
        ended = moving.wait_or_cancel(self._operations, operation, on_log, "reproduction")
        return Reproduction.model_validate(ended.result)

    def start(self, service: str, fields: Mapping[str, Any], on_log: OnLog | None) -> Replay:
        """Replay; `fields` are those of `ReplayService`."""
        path = f"{service_path(service)}/replays"
        request = compose(ReplayService, fields, "the replay")
        operation = self._connection.create("POST", path, request, Operation, repeatable=False)
        ended = moving.wait_or_cancel(self._operations, operation, on_log, "replay")
        return Replay.model_validate(ended.result)

    def prove(
        self,
        service: str,
        image: str,
        settings: Mapping[str, Any],
        gate: ReplayGate,
        on_log: OnLog | None,
    ) -> UUID:
        """Replay before an update; the id of the replay, which has passed.

        Raises:
            ReplayFailed: It has not.
        """
        fields = {
            **gate.model_dump(exclude={"last"}),
            "image": image,
            "settings": settings,
            "since": _since(gate.last),
        }
        report = self.start(service, fields, on_log)
        if not report.passed:
            raise ReplayFailed(
                f"`{service}` stays as it is: {report.verdict.rstrip('.')}",
                hint=f"`modelyard replay show {report.id}` shows the report"
                + (f"; {report.way_out}" if report.way_out else ""),
                details={"replay": str(report.id)},
            )
        return report.id


def replay_gate(
    replay: int | Mapping[str, Any] | None, max_diff: float | str | None
) -> ReplayGate | None:
    """What an update is to be let through by; None: nothing was asked for.

    Raises:
        InvalidRequest: There is only what may differ.
    """
    if replay is None:
        if max_diff is not None:
            raise InvalidRequest(
                "`max_diff` is what may differ in a replay, and there is none",
                hint="give `replay` too, such as `1000`",
            )
        return None
    wanted = {"requests": replay} if isinstance(replay, int) else dict(replay)
    given = {} if max_diff is None else {"max_diff": max_diff}
    return compose(ReplayGate, {**wanted, **given}, "the replay")


def _since(last: float | str | None) -> datetime | None:
    return None if last is None else so_long_ago(last)


def _checked(replay: UUID | str) -> UUID:
    try:
        return replay if isinstance(replay, UUID) else UUID(replay)
    except ValueError:
        raise InvalidRequest(
            f"`{str(replay)[:200]}` is not the id of a replay",
            hint="`modelyard replay list` shows the ids",
        ) from None
