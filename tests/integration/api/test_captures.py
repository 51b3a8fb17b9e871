"""What callers may ask about captured records, over HTTP."""

from __future__ import annotations

from starlette.testclient import TestClient


def test_a_time_without_a_zone_is_refused(owner: TestClient) -> None:
    for moment, status in (("2026-01-01T00:00:00", 400), ("2026-01-01T00:00:00Z", 200)):
        answer = owner.get("/api/v1/capture/segments", params={"since": moment})
        assert answer.status_code == status, answer.text
    asked = {"sql": "SELECT 1", "since": "2026-01-01T00:00:00"}
    answer = owner.post("/api/v1/capture/query", json=asked)
    assert (answer.status_code, "timezone" in answer.text) == (400, True)
