from __future__ import annotations

import signal
from typing import Any

import pytest

from modelyard.agent.supervisor import causes
from modelyard.domain.cause import Cause, CauseCode

MIB = 1 << 20


def ended(status: int, used: int = 10 * MIB) -> causes.Cause:
    return causes.ended("digits", status, "ready", used, 100 * MIB, ["last line"])


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (ended(0), CauseCode.EXITED),
        (ended(3), CauseCode.EXITED),
        (ended(-signal.SIGTERM), CauseCode.KILLED),
        (ended(-signal.SIGSEGV), CauseCode.KILLED),
        (ended(-signal.SIGKILL), CauseCode.KILLED),
        (ended(-signal.SIGKILL, used=95 * MIB), CauseCode.OUT_OF_MEMORY),
        (ended(-64), CauseCode.KILLED),
        (causes.out_of_memory("digits", 120 * MIB, 100 * MIB, []), CauseCode.OUT_OF_MEMORY),
        (causes.init_hung("digits", "importing", 5.0, ["a"]), CauseCode.INIT_HUNG),
    ],
)
def test_documents_are_causes_with_a_fix(document: causes.Cause, code: CauseCode) -> None:
    cause = Cause.model_validate(document, extra="forbid")
    assert cause.code is code
    assert "digits" in cause.message
    assert cause.fix.endswith(".")


def test_crash_and_kill_advise_differently() -> None:
    assert "library" in ended(-signal.SIGSEGV)["fix"]
    assert "library" not in ended(-signal.SIGKILL)["fix"]
    assert "SIGKILL" in ended(-signal.SIGKILL)["message"]


def test_evidence_has_the_last_lines() -> None:
    assert ended(7)["evidence"] == ["exit status 7", "last line"]


def test_runtimes_own_cause_is_cut_to_size() -> None:
    written = {"code": "init_raised", "message": "m" * 10_000, "evidence": ["e"] * 1000, "x": 1}
    cause = causes.checked(written)
    assert cause is not None
    assert set(cause) == {"code", "message", "evidence", "fix"}
    assert (len(cause["message"]), len(cause["evidence"])) == (2000, 50)


@pytest.mark.parametrize(
    "written", [None, 7, [], {}, {"code": 7}, {"message": "no code"}, "init_raised"]
)
def test_what_is_no_cause_is_none(written: Any) -> None:
    assert causes.checked(written) is None


@pytest.mark.parametrize("evidence", [None, 7, {"a": 1}, [1, None, ["x"]]])
def test_odd_evidence_becomes_text(evidence: Any) -> None:
    cause = causes.checked({"code": "init_raised", "evidence": evidence})
    assert cause is not None
    assert all(isinstance(line, str) for line in cause["evidence"])
