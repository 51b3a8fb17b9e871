"""Operations: long-running requests, their state, their logs, waiting for them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import islice
from uuid import UUID

from modelyard.client.connection import Connection, parse
from modelyard.client.logs import read_log
from modelyard.domain.operation import LogLine, Operation, OperationState
from modelyard.domain.search import Page
from modelyard.errors import InvalidRequest, OperationFailed, OperationTimedOut, from_wire

OnLog = Callable[[LogLine], None]
"""Called with every line of a log as it comes."""

_LONG_POLL = 20.0


class Operations:
    """Long-running requests, newest first."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, operation: UUID | str) -> Operation:
        """One operation as it stands.

        Raises:
            NotFound: There is none.
        """
        return self._get(operation, 0.0)

    def page(
        self, *, name: str | None = None, limit: int = 50, page: str | None = None
    ) -> Page[Operation]:
        """One page of operations, newest first; `name` is that of the image or service."""
        given = {"name": name, "page": page}
        params = {"limit": limit} | {key: value for key, value in given.items() if value}
        return self._connection.get("/operations", Page[Operation], params)

    def search(self) -> Iterator[Operation]:
        """All operations, newest first, fetched page by page as they are read."""
        page = self.page(limit=200)
        yield from page.items
        while page.next is not None:
            page = self.page(limit=200, page=page.next)
            yield from page.items

    def list(self, *, limit: int | None = None) -> tuple[Operation, ...]:
        """What `search` finds, at once; the newest `limit` of it, or all when unset."""
        return tuple(islice(self.search(), limit))

    def log(self, operation: UUID | str, *, follow: bool = False) -> Iterator[LogLine]:
        """The lines of an operation's log; with `follow` until it ended."""
        return self._log(operation, follow, None)

    def wait(
        self,
        operation: UUID | str,
        *,
        timeout: float | None = None,
        on_log: OnLog | None = None,
    ) -> Operation:
        """Wait until an operation ended well.

        Args:
            operation: Its id.
            timeout: Longest wait in seconds; unset waits as long as it takes.
            on_log: Called with every line of its log.

        Raises:
            OperationFailed: It failed or was cancelled; `BuildFailed` and `DeployFailed` are kinds
                of it, with `details["cause"]`.
            OperationTimedOut: The wait ended first; the operation goes on.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            if on_log is not None:
                for line in self._log(operation, True, deadline):
                    on_log(line)
            ended = self._until_ended(operation, deadline)
        except KeyboardInterrupt as interrupt:
            interrupt.add_note(
                f"the operation goes on: `modelyard operation show {operation}` tells how it ends"
            )
            raise
        _raise_failure(ended)
        return ended

    def cancel(self, operation: UUID | str) -> Operation:
        """End the building, profiling, replaying or moving of an image; no version is left behind.

        Raises:
            NotFound: There is none.
            Conflict: It is of another kind.
        """
        response = self._connection.request("POST", f"{_path(operation)}/cancel", repeatable=True)
        return parse(Operation, response)

    def _until_ended(self, operation: UUID | str, deadline: float | None) -> Operation:
        while True:
            left = _LONG_POLL if deadline is None else deadline - time.monotonic()
            found = self._get(operation, max(0.0, min(left, _LONG_POLL)))
            if found.state.ended:
                return found
            if left <= 0:
                raise OperationTimedOut(
                    f"the wait for {found.kind} of {found.resource} ended before the operation",
                    hint=f"it goes on: `modelyard operation show {found.id}` tells how it ends",
                    details={"operation": str(found.id)},
                )

    def _log(
        self, operation: UUID | str, follow: bool, deadline: float | None
    ) -> Iterator[LogLine]:
        return read_log(
            self._connection,
            f"{_path(operation)}/log",
            {},
            lambda: not follow or self.get(operation).state.ended,
            deadline,
        )

    def _get(self, operation: UUID | str, wait: float) -> Operation:
        params = {"wait": wait} if wait else None
        return self._connection.get(_path(operation), Operation, params)


def _path(operation: UUID | str) -> str:
    return f"/operations/{_checked(operation)}"


def _checked(operation: UUID | str) -> UUID:
    try:
        return operation if isinstance(operation, UUID) else UUID(operation)
    except ValueError:
        raise InvalidRequest(
            f"`{operation}` is not the id of an operation",
            hint="`modelyard operation list` shows the ids",
        ) from None


def _raise_failure(operation: Operation) -> None:
    if operation.error is not None:
        raise from_wire(operation.error)
    if operation.state is not OperationState.SUCCEEDED:
        raise OperationFailed(
            f"{operation.kind} of {operation.resource} was {operation.state.lower()}",
            hint=f"`modelyard operation log {operation.id}` shows what happened",
            details={"operation": str(operation.id)},
        )
