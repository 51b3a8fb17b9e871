"""Updates to images that are broken in every way, under load: what served before serves on."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import pytest
from tests.e2e.conftest import build_breakable
from tests.faults.running import Load

import modelyard
from modelyard.domain.change import ChangeOutcome

pytestmark = pytest.mark.usefixtures("product")

NEVER_READY = {
    "import": "import_failed",
    "raise": "init_raised",
    "exit": "init_exited",
    "hang": "init_hung",
    "scoring": "sample_failed",
}
WORSE = {
    "later-all": "requests failed against 0 of",
    "later-some": "requests failed against 0 of",
    "later-slow": "requests took more than",
    "later-shape": "answers had another shape, such as `[text]`",
    "later-memory": "is worse than before",
}


@pytest.fixture(scope="module")
def yard(product: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[modelyard.Client]:
    with modelyard.connect() as client:
        image = build_breakable(client, tmp_path_factory.mktemp("broken"), "good")
        client.services.deploy("shaken", image.reference, startup_timeout="3s", memory="400MiB")
        yield client
        client.services.delete("shaken")


def load_on(yard: modelyard.Client) -> Load:
    uri = yard.services.get("shaken").scoring_uri
    assert uri is not None
    return Load(uri, yard.services.keys("shaken").primary)


@pytest.mark.parametrize("broken", NEVER_READY)
def test_one_that_never_gets_ready_costs_no_request(yard: modelyard.Client, broken: str) -> None:
    load = load_on(yard)
    with load.running():
        load.more(50)
        with pytest.raises(modelyard.DeployFailed) as failed:
            yard.services.update("shaken", environment={"BREAK": broken})
        load.more(50)
    assert load.failures == []
    assert failed.value.details["cause"]["code"] == NEVER_READY[broken]


@pytest.mark.parametrize("broken", WORSE)
def test_one_that_is_worse_is_taken_out_by_itself(yard: modelyard.Client, broken: str) -> None:
    load = load_on(yard)
    with load.running():
        load.more(300)
        answered = load.answered
        with contextlib.suppress(modelyard.DeployFailed):  # or it is found a little later
            yard.services.update("shaken", environment={"BREAK": broken})
        reason = wait_until_back(yard)
        lost, share = len(load.failures), load.answered + len(load.failures) - answered
        load.more(200)
    assert WORSE[broken] in reason
    assert len(load.failures) <= lost + 4  # those that were on their way
    assert lost <= share / 2  # no more than it could have had
    assert yard.services.score("shaken", {})["answer"] == "good"
    told = yard.services.why("shaken")
    assert told is not None
    assert reason in told.message


def wait_until_back(yard: modelyard.Client) -> str:
    """Why the newest update was taken back, once it was."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        newest, before = yard.services.history("shaken")[:2]
        back = not newest.by and newest.outcome is ChangeOutcome.SERVED
        if back and before.outcome is ChangeOutcome.FAILED:
            return before.reason
        time.sleep(0.05)
    raise AssertionError(f"it did not go back: {newest} {before}")
