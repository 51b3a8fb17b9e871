"""Why a runtime ended, as plain documents in the form of `modelyard.domain.cause.Cause`.

The codes are spelled as there; this process cannot afford to import that module.
"""

from __future__ import annotations

import signal
from typing import Any

Cause = dict[str, Any]

_CRASHES = {signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT}
_NEARLY = 0.9  # of the memory limit: a kill at this point was the kernel's for lack of memory
_LONGEST_TEXT = 2000
_MOST_EVIDENCE = 50


def out_of_memory(service: str, used: int, limit: int, tail: list[str]) -> Cause:
    """The replica passed its memory limit."""
    return {
        "code": "out_of_memory",
        "message": f"A replica of `{service}` used {mebibytes(used)} of memory; "
        f"its limit is {mebibytes(limit)}.",
        "evidence": [f"memory in use: {mebibytes(used)}", *tail],
        "fix": "Give it more: `modelyard service update` with a higher `memory` setting. "
        "Fewer cores mean fewer worker processes, and so less memory.",
    }


def init_hung(service: str, phase: str, timeout: float, tail: list[str]) -> Cause:
    """The replica did not get ready in time."""
    return {
        "code": "init_hung",
        "message": f"A replica of `{service}` was still {phase} after {timeout:g} seconds "
        "and was ended.",
        "evidence": tail,
        "fix": "Look at what `init()` waits for, such as a download, a lock or a prompt. "
        "If it needs the time, raise the `startup_timeout` setting.",
    }


def ended(service: str, status: int, phase: str, used: int, limit: int, tail: list[str]) -> Cause:
    """The replica ended by itself or by somebody else's signal.

    `status` is an exit status, or the negative number of a signal.
    """
    if status >= 0:
        return _exited(service, status, phase, tail)
    if -status == signal.SIGKILL and used >= _NEARLY * limit:
        return out_of_memory(service, used, limit, tail)
    return _killed(service, -status, phase, used, limit, tail)


def checked(written: object) -> Cause | None:
    """The cause a runtime wrote about itself, cut to size; None when it is not one."""
    if not isinstance(written, dict) or not isinstance(written.get("code"), str):
        return None
    evidence = written.get("evidence")
    lines = evidence if isinstance(evidence, list) else []
    return {
        "code": written["code"][:64],
        "message": str(written.get("message", ""))[:_LONGEST_TEXT],
        "evidence": [str(line)[:_LONGEST_TEXT] for line in lines[-_MOST_EVIDENCE:]],
        "fix": str(written.get("fix", ""))[:_LONGEST_TEXT],
    }


def mebibytes(size: int) -> str:
    """The size as people read it."""
    return f"{size / (1 << 20):.0f} MiB"


def _exited(service: str, status: int, phase: str, tail: list[str]) -> Cause:
    return {
        "code": "exited",
        "message": f"A replica of `{service}` exited with status {status} while {phase}.",
        "evidence": [f"exit status {status}", *tail],
        "fix": "Its last lines say why; look for a call of `sys.exit` or `os._exit` in the "
        "scoring script and in what it imports.",
    }


def _killed(service: str, number: int, phase: str, used: int, limit: int, tail: list[str]) -> Cause:
    name = _signal_name(number)
    fix = (
        "A compiled library crashed; the traceback shows where. Try other versions of the "
        "packages, or a smaller input."
        if number in _CRASHES
        else "Something on the host ended it. Look at the system's log; the kernel's out-of-memory "
        "killer leaves a line there."
    )
    return {
        "code": "killed",
        "message": f"A replica of `{service}` was ended by {name} while {phase}.",
        "evidence": [
            f"signal {number} ({name}); memory in use: {mebibytes(used)} of {mebibytes(limit)}",
            *tail,
        ],
        "fix": fix,
    }


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
