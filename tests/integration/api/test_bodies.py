"""Bodies that are written as they come."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from modelyard.api import bodies, drift

BASELINE = "/api/v1/services/digits/baseline"


def test_a_baseline_is_bounded(owner: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drift, "MOST_BYTES", 1000)
    sent = {
        size: owner.post(BASELINE, params={"ending": ".csv"}, content=b"x" * size)
        for size in (1000, 1001)
    }
    assert sent[1000].status_code == 404  # it was taken, and there is no such service
    assert sent[1001].status_code == 400
    assert "longer than 1000 bytes" in sent[1001].text


def test_a_body_of_many_parts_arrives_whole(
    owner: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "_BATCH", 50_000)
    parts = [bytes([number]) * 30_000 for number in range(10)]
    stored = owner.post("/api/v1/blobs", content=iter(parts)).json()
    got = owner.get(f"/api/v1/blobs/{stored['digest']}")
    assert got.content == b"".join(parts)
