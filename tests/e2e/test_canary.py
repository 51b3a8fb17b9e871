"""A candidate beside what serves, under load: promoted once, taken back once, no request lost."""

from __future__ import annotations

import threading
import time
from collections import Counter
from pathlib import Path

import httpx2
import pytest
from tests.e2e.conftest import build_breakable
from tests.e2e.test_services import scores_until

import modelyard


def answers(yard: modelyard.Client, name: str, count: int, **headers: str) -> list[str]:
    """What so many requests are answered, one after the other over one connection."""
    service = yard.services.get(name)
    assert service.scoring_uri is not None
    headers = {"authorization": f"Bearer {yard.services.keys(name).primary}", **headers}
    with httpx2.Client(headers=headers, trust_env=False) as client:
        return [
            client.post(service.scoring_uri, json={}).raise_for_status().json()["answer"]
            for _ in range(count)
        ]


def test_a_canary_is_promoted_and_another_is_taken_back_without_a_failed_request(
    yard: modelyard.Client, tmp_path: Path
) -> None:
    first = build_breakable(yard, tmp_path, "first").reference
    second = build_breakable(yard, tmp_path, "second").reference
    yard.services.deploy("tried", first, replicas=2)
    stop = threading.Event()
    results: list[tuple[list[object], list[Exception]]] = []
    threads = [
        threading.Thread(target=lambda: results.append(scores_until(stop, yard, "tried")))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    try:
        service = yard.services.update("tried", second, canary="25%")
        assert [(d.image, d.weight) for d in service.deployments] == [(first, 75), (second, 25)]
        assert len(service.status.replicas) == 3
        both: set[str] = set()
        while both != {"first", "second"}:  # the others may take every turn of one for a while
            both |= set(answers(yard, "tried", 20))
        named = {"x-modelyard-deployment": second}
        assert answers(yard, "tried", 5, **named) == ["second"] * 5
        with pytest.raises(modelyard.Conflict, match="is trying"):
            yard.services.update("tried", first)
        yard.services.promote("tried")
        assert set(answers(yard, "tried", 10)) == {"second"}
        yard.services.update("tried", first, canary="50%", sticky="x-user-id")
        stuck = [answers(yard, "tried", 2, **{"x-user-id": str(n)}) for n in range(20)]
        assert Counter(len(set(pair)) for pair in stuck) == {1: 20}
        assert {pair[0] for pair in stuck} == {"first", "second"}
        yard.services.rollback("tried")
        assert set(answers(yard, "tried", 10)) == {"second"}
        yard.services.update("tried", first, shadow="50%")
        assert set(answers(yard, "tried", 10)) == {"second"}
        while not (seen := yard.services.get("tried").status.comparison) or not seen.different:
            time.sleep(0.1)
        assert (seen.equal, seen.failed) == (0, 0)
        yard.services.rollback("tried")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        history = yard.services.history("tried")
        yard.services.delete("tried")
    assert [failures for _, failures in results] == [[]] * 3
    assert [(c.image, c.rollout, c.outcome) for c in history] == [
        (second, "", "Served"),
        (first, "shadow 50 %", "Superseded"),
        (second, "", "Served"),
        (first, "canary 50 %", "Superseded"),
        (second, "canary 25 %", "Served"),
        (first, "", "Served"),
    ]
    assert history[3].reason == "taken back at 50 % by owner"


def test_a_candidate_that_breaks_goes_back_by_itself(
    yard: modelyard.Client, breakable: str
) -> None:
    yard.services.deploy("guarded", breakable)
    with pytest.raises(modelyard.DeployFailed) as failed:
        yard.services.update("guarded", canary=10, environment={"BREAK": "raise"})
    assert failed.value.details["cause"]["code"] == "init_raised"
    service = yard.services.get("guarded")
    assert (service.rollout, len(service.deployments)) == (None, 1)
    assert answers(yard, "guarded", 3) == ["forty-two"] * 3
    yard.services.delete("guarded")
