"""A replay as a gate: an update that names one is accepted only if the replay lets it through."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from modelyard.domain.image import Image
from modelyard.domain.keys import settings_mark
from modelyard.domain.operation import OperationKind
from modelyard.domain.replay import Replay, why_no_proof
from modelyard.domain.service import ReplicaSettings, Service
from modelyard.errors import Conflict, NotFound, ReplayFailed
from modelyard.store import Transaction


def mark(master_key: bytes, settings: ReplicaSettings) -> str:
    """Stands for the settings of a replica in a report that others may read."""
    return settings_mark(master_key, settings.model_dump_json())


def read_replay(tx: Transaction, workspace: str, replay: UUID) -> Replay:
    """The report of a replay.

    Raises:
        NotFound: There is none of this id.
        Conflict: It is not finished, or did not get to its end.
    """
    operation = tx.operations.get(workspace, replay)
    if operation.kind is not OperationKind.IMAGE_REPLAY:
        raise NotFound(
            f"`{replay}` is no replay, but {operation.kind} of {operation.resource}",
            hint="`modelyard replay list` shows the ids of replays",
        )
    if operation.result is None:
        raise Conflict(
            f"there is no report of replay `{replay}`: it is {operation.state.lower()}",
            hint=f"`modelyard operation show {replay}` tells more",
        )
    return Replay.model_validate(operation.result)


def refuse_unproven(
    tx: Transaction,
    master_key: bytes,
    service: Service,
    image: Image,
    settings: ReplicaSettings,
    replay: UUID,
) -> None:
    """Refuse an update that its replay does not let through.

    Args:
        tx: Of the update.
        master_key: Of the server.
        service: As it is.
        image: What it is to run.
        settings: What its replicas are to have.
        replay: Id of the replay.

    Raises:
        ReplayFailed: It has not passed, is of something else, or is too old.
        NotFound: There is no such replay.
        Conflict: It is not finished, or did not get to its end.
    """
    report = read_replay(tx, service.workspace, replay)
    why = why_no_proof(
        report,
        service_id=service.id,
        digest=image.built_manifest().digest,
        settings_mark=mark(master_key, settings),
        now=datetime.now(UTC),
    )
    if why is not None:
        raise replay_failed(
            f"`{service.name}` stays as it is: the replay {why}", replay, report.way_out
        )


def replay_failed(message: str, replay: UUID, way_out: str | None) -> ReplayFailed:
    """The error of a replay that lets nothing through."""
    return ReplayFailed(
        message,
        hint=f"`modelyard replay show {replay}` shows the report"
        + (f"; {way_out}" if way_out else ""),
        details={"replay": str(replay)},
    )
