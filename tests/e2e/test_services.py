from __future__ import annotations

import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.e2e.conftest import build_breakable

import modelyard
from modelyard.domain.service import Service, ServiceState


def scores_until(
    stop: threading.Event, yard: modelyard.Client, service: str
) -> tuple[list[object], list[Exception]]:
    """Score in a loop; every answer and every failure."""
    answers: list[object] = []
    failures: list[Exception] = []
    while not stop.is_set():
        try:
            answers.append(yard.services.score(service, {})["answer"])
        except modelyard.ModelyardError as error:
            failures.append(error)
    return answers, failures


def test_replicas_share_the_load(yard: modelyard.Client, breakable: str) -> None:
    service = yard.services.deploy("spread", breakable, replicas=2)
    assert service.status.state is ServiceState.HEALTHY
    lives = {yard.services.score("spread", {})["life"] for _ in range(20)}
    assert len(lives) == 2
    assert len(service.status.replicas) == 2
    yard.services.delete("spread")
    with pytest.raises(modelyard.NotFound):
        yard.services.get("spread")


def test_update_replaces_replicas_without_a_failed_request(
    yard: modelyard.Client, tmp_path: Path
) -> None:
    first = build_breakable(yard, tmp_path, "first")
    second = build_breakable(yard, tmp_path, "second")
    yard.services.deploy("rolling", first.reference)
    stop = threading.Event()
    results: list[tuple[list[object], list[Exception]]] = []
    threads = [
        threading.Thread(target=lambda: results.append(scores_until(stop, yard, "rolling")))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    try:
        for image in (second, first, second):
            yard.services.update("rolling", image=image.reference)
            assert yard.services.score("rolling", {})["answer"] == (
                "second" if image is second else "first"
            )
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        yard.services.delete("rolling")
    assert [failures for _, failures in results] == [[]] * 4
    assert {answer for answers, _ in results for answer in answers} == {"first", "second"}


def test_scaling_restarts_nothing(yard: modelyard.Client, breakable: str) -> None:
    before = yard.services.deploy("scaled", breakable)
    after = yard.services.scale("scaled", 3)
    kept = {replica.id for replica in before.status.replicas}
    assert len(after.status.replicas) == 3
    assert kept <= {replica.id for replica in after.status.replicas}
    assert all(replica.restarts == 0 for replica in after.status.replicas)
    fewer = yard.services.scale("scaled", 1)
    assert len(fewer.status.replicas) == 1
    yard.services.delete("scaled")


def test_a_broken_update_leaves_what_served_before(yard: modelyard.Client, breakable: str) -> None:
    yard.services.deploy("kept", breakable)
    with pytest.raises(modelyard.DeployFailed) as failed:
        yard.services.update("kept", environment={"BREAK": "raise"})
    assert failed.value.details["cause"]["code"] == "init_raised"
    assert yard.services.score("kept", {})["answer"] == "forty-two"
    service = yard.services.get("kept")
    assert service.settings.environment == {}
    yard.services.delete("kept")


def test_an_image_that_does_not_score_its_sample_gets_no_request(
    yard: modelyard.Client, breakable: str
) -> None:
    yard.services.deploy("sampled", breakable)
    with pytest.raises(modelyard.DeployFailed, match="its own sample") as failed:
        yard.services.update("sampled", environment={"BREAK": "scoring"})
    cause = failed.value.details["cause"]
    assert cause["code"] == "sample_failed"
    assert any("no answer today" in line for line in cause["evidence"])
    assert yard.services.score("sampled", {})["answer"] == "forty-two"
    yard.services.delete("sampled")


def test_a_service_goes_back_and_forth_and_remembers(
    yard: modelyard.Client, tmp_path: Path
) -> None:
    first = build_breakable(yard, tmp_path, "first").reference
    second = build_breakable(yard, tmp_path, "second").reference
    yard.services.deploy("memory", first)
    with pytest.raises(modelyard.Conflict, match="nothing but"):
        yard.services.rollback("memory")
    yard.services.update("memory", image=second, max_queue_wait="5s")
    with without_blobs():  # what has served is still on the host
        assert yard.services.rollback("memory").image == first
    assert yard.services.score("memory", {})["answer"] == "first"
    assert yard.services.get("memory").settings.max_queue_wait == 10
    assert yard.services.rollback("memory").image == second
    with pytest.raises(modelyard.DeployFailed):
        yard.services.update("memory", environment={"BREAK": "raise"})
    history = yard.services.history("memory")
    while history[0].outcome == "Pending":  # it goes back in the background
        time.sleep(0.1)
        history = yard.services.history("memory")
    assert [(one.image, one.outcome) for one in history] == [
        (second, "Served"),
        (second, "Failed"),
        (second, "Served"),
        (first, "Served"),
        (second, "Served"),
        (first, "Served"),
    ]
    assert "weights" in history[1].reason
    assert (history[0].by, history[1].by) == ("", "owner")
    yard.services.delete("memory")


@contextmanager
def without_blobs() -> Iterator[None]:
    """Take the blob store away for a while."""
    blobs = Path(os.environ["MODELYARD_HOME"]) / "blobs"
    away = blobs.rename(blobs.with_name("away"))
    try:
        yield
    finally:
        away.rename(blobs)


def test_a_regenerated_key_works_at_once_and_the_old_one_no_longer(
    yard: modelyard.Client, breakable: str
) -> None:
    service = yard.services.deploy("keyed", breakable)
    before = yard.services.keys("keyed")
    after = yard.services.regenerate_key("keyed", "primary")
    assert after.primary != before.primary
    assert after.secondary == before.secondary

    wait_until_refused(service, before.primary)
    assert status_with(service, after.primary) == 200
    assert status_with(service, before.secondary) == 200
    yard.services.delete("keyed")


def test_a_token_opens_its_service_until_its_key_is_regenerated(
    yard: modelyard.Client, breakable: str
) -> None:
    service = yard.services.deploy("tokened", breakable, auth="token")
    assert yard.services.score("tokened", {})["answer"] == "forty-two"
    token = yard.services.token("tokened", lifetime="10m").token
    assert status_with(service, token) == 200
    assert status_with(service, yard.services.keys("tokened").primary) == 401
    yard.services.regenerate_key("tokened", "primary")
    wait_until_refused(service, token)
    assert status_with(service, yard.services.token("tokened").token) == 200
    assert yard.services.score("tokened", {})["answer"] == "forty-two"
    yard.services.update("tokened", auth="key")
    with pytest.raises(modelyard.Conflict, match="takes no tokens"):
        yard.services.token("tokened")
    yard.services.delete("tokened")


def status_with(service: Service, credential: str) -> int:
    """The status of a request with a key or a token."""
    assert service.scoring_uri is not None
    request = urllib.request.Request(
        service.scoring_uri, b"{}", {"Authorization": f"Bearer {credential}"}
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def wait_until_refused(service: Service, credential: str) -> None:
    """Each process of the gateway learns of it by itself: until all of those asked refuse it."""
    deadline = time.monotonic() + 30
    refusals = 0
    while refusals < 20:
        assert time.monotonic() < deadline
        refusals = refusals + 1 if status_with(service, credential) == 401 else 0
        time.sleep(0.01)


def test_which_services_run_this_model_is_one_call(yard: modelyard.Client, breakable: str) -> None:
    yard.services.deploy("found", breakable, tags={"team": "blue"})
    image = yard.images.get(breakable)
    by_model = [service.name for service in yard.services.search(model=image.models[0])]
    by_image = [service.name for service in yard.services.search(image=breakable)]
    by_tag = [service.name for service in yard.services.search(tag=["team=blue"])]
    assert "found" in by_model
    assert "found" in by_image
    assert by_tag == ["found"]
    with pytest.raises(modelyard.InUse) as refused:
        yard.images.delete(breakable)
    assert "found" in refused.value.details["users"]  # services of failed tests may be there, too
    with pytest.raises(modelyard.InUse) as refused:
        yard.models.delete(image.models[0])
    assert breakable in refused.value.details["users"]
    yard.services.delete("found")


def test_logs_go_back_to_the_start(yard: modelyard.Client, breakable: str) -> None:
    service = yard.services.deploy("logged", breakable)
    deadline = time.monotonic() + 30
    lines: list[str] = []
    while not lines and time.monotonic() < deadline:
        lines = [line.text for line in yard.services.logs("logged")]
        time.sleep(0.05)
    assert lines
    sources = {line.source for line in yard.services.logs("logged")}
    assert sources == {service.status.replicas[0].id}
    yard.services.delete("logged")
