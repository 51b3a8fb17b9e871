"""Drift over HTTP."""

from __future__ import annotations

from starlette.testclient import TestClient


def test_without_times_it_is_about_the_last_day_of_a_service_that_there_is(
    owner: TestClient,
) -> None:
    found = owner.get("/api/v1/services/nobody/drift")
    assert found.status_code == 404
    assert "captured rows" not in found.text
    assert "`nobody`" in found.text
