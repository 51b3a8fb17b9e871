"""Version numbers: one after another, never twice; and what to say when one does not exist."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TypeVar

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from modelyard.domain.values import Reference
from modelyard.errors import NotFound
from modelyard.store.rows import CounterRow, ImageRow, ModelRow, ServiceRow, Versioned

VersionedRow = TypeVar("VersionedRow", ModelRow, ImageRow)

NamedRow = TypeVar("NamedRow", ModelRow, ImageRow, ServiceRow)

_LISTED = 10
_COMPARED = 1000


def next_version(session: Session, workspace: str, kind: Versioned, name: str) -> int:
    """Take the next number. A transaction that is undone gives it back, for nobody has seen it."""
    counter = update(CounterRow).where(
        CounterRow.workspace == workspace, CounterRow.kind == kind, CounterRow.name == name
    )
    raised = session.scalar(
        counter.values(last=CounterRow.last + 1).returning(CounterRow.last),
        execution_options={"synchronize_session": False},
    )
    if raised is None:
        session.add(CounterRow(workspace=workspace, kind=kind, name=name, last=1))
    return raised or 1


def find(
    session: Session, row: type[VersionedRow], workspace: str, reference: Reference
) -> VersionedRow:
    """The row of a version, of the latest when the reference names none.

    Raises:
        NotFound: There is none; the hint names what there is.
    """
    query = select(row).where(row.workspace == workspace, row.name == reference.name)
    if reference.version is not None:
        query = query.where(row.version == reference.version)
    found = session.scalar(query.order_by(row.version.desc()).limit(1))
    if found is None:
        raise _not_found(session, row, workspace, reference)
    return found


def _not_found(
    session: Session, row: type[VersionedRow], workspace: str, reference: Reference
) -> NotFound:
    kind = row.__tablename__
    return NotFound(
        f"{kind} `{reference}` not found in workspace `{workspace}`",
        hint=_versions_hint(session, row, workspace, reference.name)
        or names_hint(session, row, workspace, reference.name),
        details={"kind": kind, "reference": str(reference)},
    )


def _versions_hint(
    session: Session, row: type[VersionedRow], workspace: str, name: str
) -> str | None:
    query = select(row.version).where(row.workspace == workspace, row.name == name)
    versions = list(session.scalars(query.order_by(row.version.desc()).limit(_LISTED)))
    if not versions:
        return None
    return f"existing versions, newest first: {', '.join(map(str, versions))}"


def names_hint(session: Session, row: type[NamedRow], workspace: str, name: str) -> str:
    """Which names are there, when `name` is not."""
    query = select(row.name).where(row.workspace == workspace).distinct().limit(_COMPARED)
    names = list(session.scalars(query))
    if not names:
        return f"there are no {row.__tablename__}s yet"
    close = get_close_matches(name, names, n=3)
    if close:
        return f"did you mean {' or '.join(f'`{other}`' for other in close)}?"
    return f"there are: {', '.join(f'`{other}`' for other in sorted(names)[:_LISTED])}"
