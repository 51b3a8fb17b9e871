"""Everything Modelyard raises on purpose.

Each class has a stable `code`; the REST interface sends it and the client rebuilds the same class
from it, so ``except modelyard.NotFound`` works in process and against a server::

    ModelyardError             internal             a bug in Modelyard: please report it
    ├── InvalidRequest         invalid_request      the caller must change something
    │   └── InvalidScript      invalid_script       the scoring script cannot work as it is
    ├── Unauthenticated        unauthenticated      no token, or not a valid one
    ├── PermissionDenied       permission_denied    a valid token that may not do this
    ├── NotFound               not_found
    ├── Conflict               conflict             taken, in the wrong state, or another digest
    │   └── InUse              in_use               needed; `details["users"]` lists by what
    ├── InsufficientStorage    insufficient_storage the disk or the blob store is full
    ├── Unavailable            unavailable          temporary: try again
    │   └── ServerUnreachable  server_unreachable   no server answers at the address
    ├── IntegrityError         integrity            the bytes are not the promised ones
    ├── OperationFailed        operation_failed     a long-running request ended without success
    │   ├── BuildFailed        build_failed         no image; `details["cause"]` says why
    │   ├── DeployFailed       deploy_failed        not ready; `details["cause"]` says why
    │   └── ReplayFailed       replay_failed        too much differs; `details["replay"]` has it
    ├── OperationTimedOut      operation_timed_out  the wait ended first; the operation goes on
    └── ScoringFailed          scoring_failed       the service answered a score with an error
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar


class ModelyardError(Exception):
    """Base of everything raised on purpose.

    Attributes:
        message: What happened and to which thing, one sentence.
        hint: What to do next, or an empty string.
        details: Facts for programs; JSON values only.
    """

    code: ClassVar[str] = "internal"

    def __init__(
        self, message: str, *, hint: str = "", details: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details: dict[str, Any] = dict(details or {})

    def to_wire(self) -> dict[str, Any]:
        """The error as the REST interface sends it."""
        return {
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "details": self.details,
        }


class InvalidRequest(ModelyardError):
    """The caller must change something."""

    code = "invalid_request"


class InvalidScript(InvalidRequest):
    """The scoring script cannot work as it is."""

    code = "invalid_script"


class Unauthenticated(ModelyardError):
    """No token came with the request, or not a valid one."""

    code = "unauthenticated"


class PermissionDenied(ModelyardError):
    """The token is valid and may not do this."""

    code = "permission_denied"


class NotFound(ModelyardError):
    """There is no such thing."""

    code = "not_found"


class Conflict(ModelyardError):
    """The name is taken, the thing is in the wrong state, or the digest differs."""

    code = "conflict"


class InUse(Conflict):
    """Something else needs it; ``details["users"]`` lists what."""

    code = "in_use"


class InsufficientStorage(ModelyardError):
    """The disk or the blob store is full."""

    code = "insufficient_storage"


class Unavailable(ModelyardError):
    """Temporary: try again."""

    code = "unavailable"


class ServerUnreachable(Unavailable):
    """No server answers at the address."""

    code = "server_unreachable"


class IntegrityError(ModelyardError):
    """Stored or transferred bytes are not the promised ones."""

    code = "integrity"


class OperationFailed(ModelyardError):
    """A long-running request ended without success."""

    code = "operation_failed"


class BuildFailed(OperationFailed):
    """The image was not built; ``details["cause"]`` says why."""

    code = "build_failed"


class DeployFailed(OperationFailed):
    """The service is not ready; ``details["cause"]`` says why."""

    code = "deploy_failed"


class ReplayFailed(OperationFailed):
    """A replay does not let an update through; ``details["replay"]`` is its id."""

    code = "replay_failed"


class OperationTimedOut(ModelyardError):
    """The wait ended before the operation did; the operation goes on."""

    code = "operation_timed_out"


class ScoringFailed(ModelyardError):
    """The service answered a score with an error; ``details["status"]`` is its HTTP status."""

    code = "scoring_failed"


def _tree(root: type[ModelyardError]) -> Iterator[type[ModelyardError]]:
    yield root
    for child in root.__subclasses__():
        yield from _tree(child)


BY_CODE: dict[str, type[ModelyardError]] = {error.code: error for error in _tree(ModelyardError)}
"""Every error class by its stable code."""


def from_wire(body: Mapping[str, Any]) -> ModelyardError:
    """Rebuild the error a server sent; an unknown code becomes a `ModelyardError` that names it."""
    code = str(body.get("code", "internal"))
    message = str(body.get("message", "the server gave no message"))
    if code not in BY_CODE:
        message = f"{message} (code {code})"
    return BY_CODE.get(code, ModelyardError)(
        message, hint=str(body.get("hint", "")), details=body.get("details") or {}
    )
