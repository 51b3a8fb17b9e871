"""What the package installer says, as one typed cause. The texts are its own."""

from __future__ import annotations

import pytest

from modelyard.domain.cause import Cause, CauseCode
from modelyard.images.failures import build_failed, explain_install, explain_lock

RUNTIME = ("httptools<1,>=0.7", "orjson<4,>=3.11")
HEAD = "error: No solution found when resolving dependencies\n  cause: Because "
TAIL = ", we can conclude that your requirements are unsatisfiable.\n"


@pytest.mark.parametrize(
    ("output", "code", "name"),
    [
        (
            f"{HEAD}nosuch was not found in the package registry and you require nosuch{TAIL}",
            CauseCode.UNKNOWN_REQUIREMENT,
            "nosuch",
        ),
        (
            f"{HEAD}my-own.pkg was not found in the provided package locations and all versions "
            f"of other depend on my-own.pkg>=1{TAIL}",
            CauseCode.UNKNOWN_REQUIREMENT,
            "my-own.pkg",
        ),
        (
            f"{HEAD}there is no version of joblib==99 and you require joblib==99{TAIL}",
            CauseCode.UNKNOWN_REQUIREMENT,
            "joblib",
        ),
        (
            f"{HEAD}only numpy==2.4.6 is available and you require numpy<2{TAIL}",
            CauseCode.UNKNOWN_REQUIREMENT,
            "numpy",
        ),
        (
            f"{HEAD}onlysource==1.0 has no usable wheels and only onlysource==1.0 is available, "
            "we can conclude that all versions of onlysource cannot be used.\n"
            f"         And because you require onlysource{TAIL}",
            CauseCode.NO_WHEEL,
            "onlysource",
        ),
        (
            f"{HEAD}tensorflow==1.15.0 has no wheels with a matching Python ABI tag (e.g., "
            f"`cp311`) and you require tensorflow==1.15{TAIL}",
            CauseCode.NO_WHEEL,
            "tensorflow",
        ),
        (
            f"{HEAD}scikit-learn<=0.19.2 has no usable\n             wheels and only the "
            f"following versions of scikit-learn are available:\n  scikit-learn>=0.20\n{TAIL}",
            CauseCode.NO_WHEEL,
            "scikit-learn",
        ),
        (
            f"{HEAD}all versions of scikit-learn depend on numpy>=1.24.1 and you require "
            "scikit-learn==1.9.1, we can conclude that you require numpy>=1.24.1.\n"
            f"         And because you require numpy==1.0{TAIL}",
            CauseCode.REQUIREMENTS_CLASH,
            "contradict",
        ),
        (
            f"{HEAD}only joblib==1.6.0 is available and all versions of needsjob depend on "
            f"joblib<1, we can conclude that all versions of needsjob cannot be used.{TAIL}",
            CauseCode.REQUIREMENTS_CLASH,
            "contradict",
        ),
        (
            "error: Request failed after 3 retries in 6.4s\n"
            "  cause: Failed to fetch: http://127.0.0.1:9/simple/joblib/\n",
            CauseCode.INSTALL_FAILED,
            "package index did not answer",
        ),
        (
            "error: failed to write to file `/x`: No space left on device (os error 28)\n",
            CauseCode.STORAGE_FULL,
            "disk became full",
        ),
        ("error: something new\n", CauseCode.INSTALL_FAILED, "could not be locked"),
    ],
)
def test_a_failed_lock_has_one_cause(output: str, code: CauseCode, name: str) -> None:
    cause = explain_lock(output, RUNTIME)
    assert cause.code is code
    assert name in cause.message
    assert cause.fix
    assert cause.evidence[0] == output.splitlines()[0].strip()


def test_a_clash_with_the_runtime_names_what_it_needs() -> None:
    output = f"{HEAD}you require orjson>=3.11,<4 and orjson<3{TAIL}"
    assert "The runtime itself needs orjson<4,>=3.11." in explain_lock(output, RUNTIME).fix
    output = f"{HEAD}you require my-orjson>=2 and my-orjson<1{TAIL}"
    assert "runtime" not in explain_lock(output, RUNTIME).fix


def test_a_failed_installation_has_one_cause() -> None:
    hashes = "error: Hash mismatch for `joblib==1.6.0`\n"
    assert explain_install(hashes).code is CauseCode.INSTALL_FAILED
    assert explain_install("Disk quota exceeded").code is CauseCode.STORAGE_FULL


def test_evidence_is_bounded_and_holds_no_credentials() -> None:
    output = "\n".join(["x" * 10_000] * 100 + ["at https://user:secret@index.invalid/simple"])
    evidence = explain_install(output).evidence
    assert len(evidence) == 30
    assert max(map(len, evidence)) == 500
    assert evidence[-1] == "at https://****@index.invalid/simple"


def test_the_error_carries_its_cause() -> None:
    cause = Cause(code=CauseCode.NO_WHEEL, message="m", evidence=("e",), fix="f")
    error = build_failed(cause)
    assert (error.message, error.hint) == ("m", "f")
    assert Cause.model_validate(error.details["cause"]) == cause
