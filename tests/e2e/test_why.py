from __future__ import annotations

import os
import signal
import time
import urllib.error
import urllib.request

import psutil
import pytest

import modelyard
from modelyard.domain.cause import CauseCode


@pytest.mark.parametrize(
    ("broken", "code", "evidence"),
    [
        ("import", CauseCode.IMPORT_FAILED, "the moon is wrong"),
        ("package", CauseCode.PACKAGE_MISSING, "not_installed_anywhere"),
        ("raise", CauseCode.INIT_RAISED, "KeyError"),
        ("exit", CauseCode.INIT_EXITED, "7"),
        ("hang", CauseCode.INIT_HUNG, ""),
        ("memory", CauseCode.OUT_OF_MEMORY, ""),
        ("file", CauseCode.MODEL_FILE_MISSING, "gone.txt"),
    ],
)
def test_why_names_the_cause(
    yard: modelyard.Client, breakable: str, broken: str, code: CauseCode, evidence: str
) -> None:
    with pytest.raises(modelyard.DeployFailed) as failed:
        yard.services.deploy(
            "broken",
            breakable,
            environment={"BREAK": broken},
            startup_timeout="3s" if broken == "hang" else "60s",
            memory="256MiB",
        )
    try:
        cause = yard.services.why("broken")
        assert cause is not None
        assert cause.code is code
        assert evidence in f"{cause.message} {' '.join(cause.evidence)}"
        assert cause.fix
        assert failed.value.details["cause"]["code"] == code.value
    finally:
        yard.services.delete("broken")


def test_why_says_that_keys_are_refused(yard: modelyard.Client, breakable: str) -> None:
    service = yard.services.deploy("locked", breakable)
    assert service.scoring_uri is not None
    assert yard.services.why("locked") is None
    request = urllib.request.Request(
        service.scoring_uri, b"{}", {"Authorization": "Bearer my_0123456789abcdef_" + "x" * 43}
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=10)
    with refused.value as error:
        assert error.code == 401
    deadline = time.monotonic() + 30
    cause = None
    while cause is None and time.monotonic() < deadline:
        cause = yard.services.why("locked")
        time.sleep(0.1)
    assert cause is not None
    assert cause.code is CauseCode.KEY_REFUSED
    yard.services.delete("locked")


def test_why_says_that_the_agent_is_gone(yard: modelyard.Client, breakable: str) -> None:
    yard.services.deploy("orphan", breakable)
    agent = next(
        process
        for process in psutil.process_iter(["cmdline", "environ"])
        if "modelyard.agent" in (process.info["cmdline"] or [])
        and os.environ["MODELYARD_HOME"] in " ".join(process.info["cmdline"] or [])
    )
    agent.send_signal(signal.SIGSTOP)
    try:
        deadline = time.monotonic() + 60
        cause = None
        while cause is None and time.monotonic() < deadline:
            cause = yard.services.why("orphan")
            assert yard.services.score("orphan", {})["answer"] == "forty-two"
            time.sleep(0.5)
        assert cause is not None
        assert cause.code is CauseCode.AGENT_GONE
    finally:
        agent.send_signal(signal.SIGCONT)
    yard.services.delete("orphan")
