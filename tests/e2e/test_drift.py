"""Traffic that has changed is found, and named, by what has come home."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import modelyard
from modelyard.domain.drift import DriftReport
from modelyard.errors import NotFound, Unavailable


def seen(yard: modelyard.Client, service: str, rows: int) -> DriftReport:
    """A report, once so many rows have come home."""
    deadline = time.monotonic() + 120
    while True:
        try:
            report = yard.services.drift(service)
        except (NotFound, Unavailable):
            report = None
        if report is not None and report.window.rows == rows:
            return report
        assert time.monotonic() < deadline, report
        time.sleep(0.3)


def test_drift_is_found_in_captured_rows(
    yard: modelyard.Client, breakable: str, tmp_path: Path
) -> None:
    yard.services.deploy("drifting", breakable, capture="100%")
    train = tmp_path / "train.csv"
    train.write_text("number,kind\n" + "".join(f"{n % 100},k{n % 2}\n" for n in range(1000)))
    baseline = yard.services.set_baseline("drifting", train)
    assert (baseline.rows, baseline.features) == (1000, ("input_number", "input_kind"))
    for number in range(120):
        yard.services.score("drifting", {"number": 60 + number % 40, "kind": f"k{number % 2}"})
    report = seen(yard, "drifting", 120)
    assert report.drifted == ("input_number",)

    page = tmp_path / "drift.html"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "modelyard.cli", "service", "drift", "drifting"),
            *("--fail", "--html", str(page)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "input_number  drifted" in done.stdout
    assert "drifted: input_number" in done.stderr
    assert page.read_text().count("<svg") == 2
    yard.services.delete("drifting")
