"""Operations: long-running requests, their outcome and their log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

from pydantic import JsonValue
from sqlalchemy import ColumnElement, func, or_, select

from modelyard.domain.operation import LogLine, Operation, OperationKind, OperationState
from modelyard.domain.search import Page, Search
from modelyard.errors import NotFound
from modelyard.store import search
from modelyard.store.repository import Repository, insert_all
from modelyard.store.rows import OperationLineRow, OperationRow

LONGEST_LINE = 16 << 10
"""Characters kept of one log line."""

MOST_LINES = 100_000
"""Lines kept of one operation; what comes after is dropped, and the last line says so."""


class Operations(Repository):
    """Long-running requests."""

    def add(
        self,
        workspace: str,
        kind: OperationKind,
        resource: str,
        created_by: str,
    ) -> Operation:
        """Begin an operation in state Running. `resource` is such as `service iris`."""
        now = self._clock()
        row = OperationRow(
            id=uuid4(),
            workspace=workspace,
            kind=kind,
            state=OperationState.RUNNING,
            resource=resource,
            created_at=now,
            updated_at=now,
            created_by=created_by,
        )
        self._session.add(row)
        self._session.flush()
        return _to_domain(row)

    def count(self) -> dict[tuple[OperationKind, OperationState], int]:
        """How many there are, by kind and state."""
        query = select(OperationRow.kind, OperationRow.state, func.count())
        rows = self._session.execute(query.group_by(OperationRow.kind, OperationRow.state))
        return {(kind, state): number for kind, state, number in rows}

    def get(self, workspace: str, operation: UUID) -> Operation:
        """One operation.

        Raises:
            NotFound: There is none with this id.
        """
        row = self._row(operation)
        if row.workspace != workspace:
            raise _not_found(operation)
        return _to_domain(row)

    def search(self, workspace: str, wanted: Search) -> Page[Operation]:
        """Operations, newest first. `name` is that of the image or the service worked on.

        Raises:
            InvalidRequest: A filter is given that operations have no use for.
        """
        search.refuse("operations", wanted, "version", "tag", "property", "framework", "model")
        search.refuse("operations", wanted, "image")
        found = search.Narrowed(
            select(OperationRow).where(OperationRow.workspace == workspace), OperationRow.seq
        ).where(*search.created(OperationRow.created_at, wanted))
        if wanted.name is not None:
            found = found.where(_works_on(wanted.name))
        if wanted.text is not None:
            found = found.where(OperationRow.resource.icontains(wanted.text, autoescape=True))
        return search.page(self._session, found, wanted, _all_to_domain)

    def running(
        self, workspace: str | None = None, resource: str | None = None
    ) -> tuple[Operation, ...]:
        """Operations that have not ended, oldest first; of all workspaces unless one is given."""
        query = select(OperationRow).where(OperationRow.state == OperationState.RUNNING)
        if workspace is not None:
            query = query.where(OperationRow.workspace == workspace)
        if resource is not None:
            query = query.where(OperationRow.resource == resource)
        return tuple(_all_to_domain(self._session.scalars(query.order_by(OperationRow.seq)).all()))

    def finish(
        self,
        operation: UUID,
        state: OperationState,
        error: dict[str, Any] | None = None,
        result: JsonValue = None,
    ) -> Operation:
        """End an operation; one that has ended before stays as it is.

        Raises:
            NotFound: There is none with this id.
        """
        row = self._row(operation)
        if not row.state.ended:
            row.state, row.error, row.result = state, error, result
            row.updated_at = self._clock()
            self._session.flush()
        return _to_domain(row)

    def append_log(self, operation: UUID, source: str, lines: Sequence[str]) -> None:
        """Append lines to the log.

        Raises:
            NotFound: There is no operation with this id.
        """
        row = self._row(operation)
        room = MOST_LINES - row.log_lines
        kept = [line[:LONGEST_LINE] for line in lines[: max(room, 0)]]
        if kept and len(lines) >= room:
            kept[-1] = f"the log is full at {MOST_LINES} lines; what follows is not kept"
        if not kept:
            return
        now = self._clock()
        insert_all(
            self._session,
            OperationLineRow,
            (
                {
                    "operation": row.seq,
                    "sequence": sequence,
                    "time": now,
                    "source": source,
                    "text": text,
                }
                for sequence, text in enumerate(kept, start=row.log_lines + 1)
            ),
        )
        row.log_lines += len(kept)
        self._session.flush()

    def log(self, operation: UUID, after: int = 0, limit: int = 1000) -> list[LogLine]:
        """Lines whose sequence is above `after`; sequences begin at 1.

        Raises:
            NotFound: There is no operation with this id.
        """
        query = (
            select(OperationLineRow)
            .where(
                OperationLineRow.operation == self._row(operation).seq,
                OperationLineRow.sequence > after,
            )
            .order_by(OperationLineRow.sequence)
            .limit(limit)
        )
        return [
            LogLine(sequence=row.sequence, time=row.time, source=row.source, text=row.text)
            for row in self._session.scalars(query)
        ]

    def _row(self, operation: UUID) -> OperationRow:
        row = self._session.scalar(select(OperationRow).where(OperationRow.id == operation))
        if row is None:
            raise _not_found(operation)
        return row


def _works_on(name: str) -> ColumnElement[bool]:
    return or_(
        OperationRow.resource == f"service {name}",
        OperationRow.resource.startswith(f"image {name}:", autoescape=True),
    )


def _not_found(operation: UUID) -> NotFound:
    return NotFound(
        f"operation `{operation}` not found", hint="list operations to see which there are"
    )


def _all_to_domain(rows: Sequence[OperationRow]) -> list[Operation]:
    return [_to_domain(row) for row in rows]


def _to_domain(row: OperationRow) -> Operation:
    return Operation(
        id=row.id,
        workspace=row.workspace,
        kind=row.kind,
        state=row.state,
        resource=row.resource,
        error=row.error,
        result=row.result,
        created_at=row.created_at,
        updated_at=row.updated_at,
        created_by=row.created_by,
    )
