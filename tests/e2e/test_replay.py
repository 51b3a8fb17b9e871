"""Captured requests, scored once more: what is worse does not get into the service."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.e2e.conftest import build_breakable

import modelyard

IGNORED = {"tolerance": {"ignore": ["life"]}}
"""A member of the answers that is another one for each process."""


def test_a_worse_image_is_kept_out_and_a_good_one_gets_in(
    yard: modelyard.Client, breakable: str, tmp_path: Path
) -> None:
    service = yard.services.deploy("gated", breakable, capture="100%")
    for number in range(20):
        yard.services.score("gated", {"number": number})
    with pytest.raises(modelyard.ScoringFailed):
        yard.services.score("gated", [1])
    worse = build_breakable(yard, tmp_path, "forty-three").reference
    deadline = time.monotonic() + 60
    while not yard.captures.list("gated") and time.monotonic() < deadline:
        time.sleep(0.1)
    assert yard.captures.verify("gated").is_final

    refused = subprocess.run(
        [
            *(sys.executable, "-m", "modelyard.cli", "service", "update", "gated"),
            *("--image", worse, "--replay", "1000", "--max-diff", "2%", "--ignore", "life"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 1
    assert "error: `gated` stays as it is: 20 of 21 requests are answered" in refused.stderr
    after = yard.services.get("gated")
    assert (after.image, after.generation) == (breakable, service.generation)

    with pytest.raises(modelyard.ReplayFailed) as failure:
        yard.services.update(
            "gated", environment={"BREAK": "later-all"}, replay={"requests": 5, **IGNORED}
        )
    report = yard.replays.get(failure.value.details["replay"])
    assert (report.found.errors, report.found.kinds) == (4, {"status": 4})
    assert yard.services.get("gated").generation == service.generation

    updated = yard.services.update(
        "gated", environment={"BREAK": ""}, replay={"requests": 5, **IGNORED}
    )
    assert updated.settings.environment == {"BREAK": ""}

    first = yard.captures.query(
        "SELECT prediction_id FROM requests ORDER BY time LIMIT 1", service="gated"
    ).rows[0][0]
    assert isinstance(first, str)
    equal = yard.replays.reproduce(first, ignore=["life"])
    assert (equal.equal, equal.image, equal.runs, equal.other) == (True, breakable, 3, 0)
    differs = subprocess.run(
        [sys.executable, "-m", "modelyard.cli", "reproduce", first],
        capture_output=True,
        text=True,
        check=False,
    )
    assert differs.returncode == 1
    assert f"{breakable} answers otherwise: another value at `life`" in differs.stdout
    yard.services.delete("gated")
