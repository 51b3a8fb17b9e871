"""Operations: what was asked for and takes long, with a log that can be followed."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from pydantic import JsonValue

from modelyard.control.signals import Signal
from modelyard.domain.operation import LogLine, Operation, OperationState
from modelyard.domain.principal import Principal
from modelyard.domain.search import Page, Search
from modelyard.errors import ModelyardError
from modelyard.store import Database


class Operations:
    """Reads operations, and lets those who work on one write its log and its end."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.changed = Signal()
        """Raised when any operation's log or state changed."""

    def get(self, principal: Principal, operation: UUID) -> Operation:
        """One operation.

        Raises:
            NotFound: There is none with this id in the caller's workspace.
        """
        with self._database.read() as tx:
            return tx.operations.get(principal.workspace, operation)

    def search(self, principal: Principal, search: Search) -> Page[Operation]:
        """Operations that match, newest first; `name` is that of the image or service."""
        with self._database.read() as tx:
            return tx.operations.search(principal.workspace, search)

    def log(
        self, principal: Principal, operation: UUID, after: int, limit: int
    ) -> Sequence[LogLine]:
        """Lines of an operation's log with a sequence above `after`, oldest first."""
        with self._database.read() as tx:
            tx.operations.get(principal.workspace, operation)
            return tx.operations.log(operation, after, limit)

    def append(self, operation: UUID, source: str, text: str) -> None:
        """Write to an operation's log."""
        with self._database.write() as tx:
            tx.operations.append_log(operation, source, text.splitlines() or [""])
        self.changed.notify()

    def finish(
        self,
        operation: UUID,
        state: OperationState,
        error: ModelyardError | None = None,
        result: JsonValue = None,
    ) -> None:
        """End an operation; one that ended before stays as it is."""
        with self._database.write() as tx:
            tx.operations.finish(operation, state, error.to_wire() if error else None, result)
        self.changed.notify()
