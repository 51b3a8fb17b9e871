"""Work of operations that leaves nothing behind when it is cut off: run, cancelled, ended.

What a restart of the server cut off is not begun again: it failed, and says so. Builds of images,
which are taken up again, are `control.images`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from uuid import UUID

from pydantic import JsonValue

from modelyard.control.operations import Operations
from modelyard.domain.cause import Cause, CauseCode
from modelyard.domain.operation import (
    CANCELLABLE,
    TRIAL_REPLICA,
    Operation,
    OperationKind,
    OperationState,
)
from modelyard.domain.principal import Principal
from modelyard.errors import Conflict, ModelyardError, OperationFailed
from modelyard.images.cancelling import Cancelled, go_on, while_wanted
from modelyard.store import Database, Transaction

_THREADS = 4
MOST_UNENDED = 20
"""Operations of a kind, or of those that are measured one at a time together, that may run or wait.
Each is minutes of work: whoever waits for more than that is better told so."""
_MEASURED = (OperationKind.IMAGE_PROFILE, OperationKind.IMAGE_REPLAY)
_logger = logging.getLogger("modelyard.background")


class Job:
    """One operation that is being worked on."""

    def __init__(self, operation: Operation, operations: Operations) -> None:
        self.operation = operation
        self._operations = operations

    def log(self, text: str, source: str = "") -> None:
        """Write to the operation's log; the source is what it does, unless told otherwise."""
        verb = self.operation.kind.rpartition(".")[2]
        self._operations.append(self.operation.id, source or verb, text)

    def log_replica(self, text: str, source: str = "") -> None:
        """Write what a replica prints that is started for this, under a source of its own."""
        del source  # its purpose, which the operation says
        self._operations.append(self.operation.id, TRIAL_REPLICA, text)


Work = Callable[[Job], JsonValue]
"""Does the work of an operation and gives its result."""


class Background:
    """Runs work in threads: what measures one at a time, because two would measure each other."""

    def __init__(self, database: Database, operations: Operations) -> None:
        self._database = database
        self._operations = operations
        self._unwanted: set[UUID] = set()
        self._closing = threading.Event()
        self._others = ThreadPoolExecutor(_THREADS, thread_name_prefix="background")
        self._measured = ThreadPoolExecutor(1, thread_name_prefix="measured")

    def refuse_more(self, tx: Transaction, workspace: str, kind: OperationKind) -> None:
        """Refuse another operation while as many as may be wait for those before them.

        Raises:
            Conflict: There are as many.
        """
        kinds = _MEASURED if kind in _MEASURED else (kind,)
        unended = [one for one in tx.operations.running(workspace) if one.kind in kinds]
        if len(unended) >= MOST_UNENDED:
            raise Conflict(
                f"{len(unended)} operations ({', '.join(kinds)}) run or wait, and no more may",
                hint="try again when some have ended; `modelyard operation list` shows them, "
                "`modelyard operation cancel ID` ends one",
            )

    def begin(self, operation: Operation, work: Work) -> None:
        """Have an operation worked on; when there is a thread for it."""
        is_measured = operation.kind in _MEASURED
        executor = self._measured if is_measured else self._others
        executor.submit(self._run, operation, work)

    def cancel(self, principal: Principal, operation: UUID) -> Operation:
        """End an operation; one that has ended stays as it is.

        Raises:
            NotFound: There is no such operation.
            Conflict: It is of a kind that leaves something behind.
        """
        found = self._operations.get(principal, operation)
        if found.kind not in CANCELLABLE:
            raise Conflict(
                f"{found.kind} of {found.resource} cannot be cancelled",
                hint="only what leaves nothing behind can: building, profiling, replaying and "
                "moving images; `modelyard service rollback` takes a change of a service back",
            )
        if not found.state.ended:
            self._unwanted.add(operation)
            with self._database.write() as tx:
                tx.images.withdraw(operation)
                tx.operations.append_log(operation, "operation", [f"cancelled by {principal.name}"])
                tx.operations.finish(operation, OperationState.CANCELLED)
            self._operations.changed.notify()
        return self._operations.get(principal, operation)

    @contextmanager
    def while_wanted(self, operation: UUID) -> Iterator[None]:
        """Do what an operation asks for, unless it is cancelled or the server stops.

        Raises:
            Cancelled: By whatever is done in here, or because it is not wanted to begin with.
        """

        def is_unwanted() -> bool:
            return self._closing.is_set() or operation in self._unwanted

        try:
            with while_wanted(is_unwanted):
                go_on()
                yield
        finally:
            self._unwanted.discard(operation)

    def resume(self) -> None:
        """End what a server before this one did not finish."""
        with self._database.read() as tx:
            running = tx.operations.running()
        for operation in running:
            if operation.kind in CANCELLABLE and operation.kind is not OperationKind.IMAGE_BUILD:
                failure = _interrupted(operation)
                self._operations.finish(operation.id, OperationState.FAILED, failure)

    def close(self) -> None:
        """End what is being done, and take no more."""
        self._closing.set()
        for executor in (self._measured, self._others):
            executor.shutdown(wait=False, cancel_futures=True)

    def _run(self, operation: Operation, work: Work) -> None:
        """Do the work; whatever happens, the operation says so."""
        job = Job(operation, self._operations)
        try:
            with self.while_wanted(operation.id):
                result = work(job)
            self._operations.finish(operation.id, OperationState.SUCCEEDED, result=result)
        except Cancelled:
            _logger.info("%s of %s was cancelled", operation.kind, operation.resource)
        except ModelyardError as error:
            self._fail(job, error)
        except Exception:
            _logger.exception("%s of %s", operation.kind, operation.resource)
            what = f"{operation.kind} of {operation.resource} failed in the server"
            self._fail(job, ModelyardError(what, hint="the server's log has the reason"))

    def _fail(self, job: Job, error: ModelyardError) -> None:
        failure = OperationFailed(error.message, hint=error.hint, details=error.details)
        job.log(f"failed: {error.message}")
        self._operations.finish(job.operation.id, OperationState.FAILED, failure)


def _interrupted(operation: Operation) -> OperationFailed:
    cause = Cause(
        code=CauseCode.INTERRUPTED,
        message=f"The server was restarted in the middle of the {operation.kind}.",
        fix="Do it again.",
    )
    return OperationFailed(
        cause.message, hint=cause.fix, details={"cause": cause.model_dump(mode="json")}
    )
