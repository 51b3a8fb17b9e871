"""Profiles of real images: what is measured, what fails, and that nothing is left running."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from pydantic import JsonValue
from tests.integration.images.conftest import Workshop

from modelyard.domain.cause import Cause, CauseCode
from modelyard.domain.profile import Profile
from modelyard.errors import BuildFailed
from modelyard.images.cancelling import Cancelled, while_wanted
from modelyard.schemas import ProfileImage

ECHO = "def run(data: list):\n    sum(range(100_000))\n    return data\n"
SHORT = ProfileImage(duration=0.1, max_concurrency=2, latency="10s", rate=1)


@pytest.fixture(autouse=True)
def nothing_left_running(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(home))
    before = set(psutil.Process().children(recursive=True))
    yield
    assert set(psutil.Process().children(recursive=True)) <= before
    assert list(home.iterdir()) == []


def profile(
    workshop: Workshop,
    script: str,
    sample: JsonValue = None,
    request: ProfileImage = SHORT,
) -> Profile:
    manifest = workshop.assemble(script)
    signature = workshop.key.sign(manifest.digest)
    return workshop.builder.profile("echo:1", manifest, signature, sample, request, workshop.log)


def failure(workshop: Workshop, script: str, sample: JsonValue = None) -> Cause:
    with pytest.raises(BuildFailed) as caught:
        profile(workshop, script, sample)
    return Cause.model_validate(caught.value.details["cause"])


def test_every_level_is_measured(workshop: Workshop) -> None:
    found = profile(workshop, ECHO, [1, 2])
    assert [level.concurrency for level in found.levels] == [1, 2]
    for level in found.levels:
        assert level.answered >= 20
        assert level.errors == 0
        assert 0 < level.p50 <= level.p95 <= level.p99
        assert level.cpu > 0
        assert level.memory > 1 << 20
    assert found.workers == 1
    assert found.recommendation.replicas == 1
    assert found.recommendation.max_concurrent_requests in (1, 2)  # as this machine has it
    assert Profile.model_validate_json(found.model_dump_json()) == found


def test_the_log_tells_every_level_and_the_advice(workshop: Workshop) -> None:
    found = profile(workshop, ECHO, [1, 2])
    lines = [text for source, text in workshop.lines if source == "profile"]
    assert lines[0] == "starting one replica, workers: 1"
    assert lines[1].startswith("1 in flight: ")
    assert lines[2].startswith("2 in flight: ")
    assert lines[-1] == found.recommendation.reason


def test_cores_become_workers(workshop: Workshop) -> None:
    request = SHORT.model_copy(update={"cpu": 2.5, "max_concurrency": 1})
    assert profile(workshop, ECHO, [1], request).workers == 2


def test_a_slow_model_is_waited_for(workshop: Workshop) -> None:
    slow = "import time\ndef run(data: list):\n    time.sleep(0.3)\n    return data\n"
    found = profile(workshop, slow, [1], SHORT.model_copy(update={"max_concurrency": 1}))
    assert 1 <= found.levels[0].answered <= 3
    assert found.levels[0].p50 >= 0.3


def test_a_few_failures_are_counted(workshop: Workshop) -> None:
    moody = (
        "from itertools import count\nseen = count()\n"
        "def run(data: list):\n    assert next(seen) % 3\n    return data\n"
    )
    found = profile(workshop, moody, [1])
    assert len(found.levels) == 1
    assert found.levels[0].errors > 0
    assert found.recommendation.replicas is None


def test_a_sample_that_never_scores_shows_why(workshop: Workshop) -> None:
    cause = failure(workshop, "def run(data: list):\n    return data[7]\n", [1])
    assert cause.code is CauseCode.SAMPLE_FAILED
    assert any("IndexError" in line for line in cause.evidence)


def test_a_worker_that_ends_shows_it(workshop: Workshop) -> None:
    cause = failure(workshop, "import os\ndef run(data: list):\n    os._exit(3)\n", [1])
    assert cause.code in (CauseCode.SAMPLE_FAILED, CauseCode.EXITED)


def test_an_image_that_does_not_start_shows_why(workshop: Workshop) -> None:
    script = "def init():\n    raise KeyError('weights')\ndef run(data): ...\n"
    assert failure(workshop, script, [1]).code is CauseCode.INIT_RAISED


def test_it_ends_when_it_is_cancelled(workshop: Workshop) -> None:
    request = ProfileImage(duration=60)
    lines = iter([False] * 150)
    with pytest.raises(Cancelled), while_wanted(lambda: next(lines, True)):
        profile(workshop, ECHO, [1], request)


def test_an_image_that_nobody_signed_is_not_started(workshop: Workshop) -> None:
    manifest = workshop.assemble(ECHO)
    with pytest.raises(BuildFailed) as caught:
        workshop.builder.profile("echo:1", manifest, None, [1], SHORT, workshop.log)
    assert caught.value.details["cause"]["code"] == CauseCode.SIGNATURE_INVALID
