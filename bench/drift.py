"""Drift: what is found, what is named for nothing, and what it costs.

Rows of five features and an answer come in parts, each sketched, packed, read again and merged, as
hours of captured rows are. False alarms: reports of unchanged traffic, of several sizes. Found:
reports in which drift of one kind was planted, and only the feature that it is in was named. Costs:
the program that sketches, on a file of a million rows; a report over thirty days of hours in a
database; and two of its measures by scipy on rows themselves.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import numpy as np
import scipy.stats

from bench._streams import PLANTED, rows, sketched
from modelyard.capture.files import CapturedFiles
from modelyard.control.drift import Drift, Window
from modelyard.control.sketching import Sketcher
from modelyard.domain.principal import Principal, Role
from modelyard.monitoring.drift import compare
from modelyard.monitoring.jobs import SketchJob
from modelyard.monitoring.sketches import merged, pack
from modelyard.store import Database
from modelyard.store.sketches import NewPart, Origin

SEEDS = 100
SIZES = ((1000, 1000), (300, 3000), (20_000, 1000))
MILLION = 1_000_000
FEATURES, DAYS = 30, 30
_BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def run() -> Iterator[dict[str, Any]]:
    """The figures."""
    alarms = sum(bool(_named(seed, *size, "")) for size in SIZES for seed in range(SEEDS))
    reports = SEEDS * len(SIZES)
    yield _figure(f"reports of {reports} unchanged that name a feature", alarms, "", "")
    yield _figure("the same as a share", alarms / reports, "", "<= 0.01")
    for planted, feature in PLANTED.items():
        found = [_named(10_000 + seed, 1000, 1000, planted) for seed in range(SEEDS // 4)]
        right = sum(names == {feature} for names in found) / len(found)
        yield _figure(f"planted: {planted}, found and named alone", right, "", ">= 0.9")
    with tempfile.TemporaryDirectory() as folder:
        yield from _costs(Path(folder))


def _named(seed: int, before: int, now: int, planted: str) -> set[str]:
    random = np.random.default_rng(seed)
    baseline = sketched(rows(random, before), parts=5)
    window = sketched(rows(random, now, planted), parts=5)
    return {
        one.name for one in compare(baseline, window, sorted(baseline.features)) if one.findings
    }


def _costs(folder: Path) -> Iterator[dict[str, Any]]:
    path = folder / "rows.parquet"
    cells = ", ".join(f'random() * {i + 1} AS "input:x{i}"' for i in range(8))
    duckdb.sql(
        f"SELECT to_timestamp(1790000000 + i / 1000) AS time, 'row' AS recorded_by, "
        f'0::INTEGER AS "row", {cells}, \'w\' || (i % 7) AS "input:word", '
        f'(i % 3)::BIGINT AS "output:" FROM range({MILLION}) t(i)'
    ).write_parquet(str(path))
    job = SketchJob(files=(path,)).model_dump_json().encode()
    command = [sys.executable, "-P", "-m", "modelyard.monitoring.sketching", "records"]
    once = _seconds(lambda: subprocess.run(command, input=job, capture_output=True, check=True), 3)
    yield _figure("a million rows of 10 features sketched, its process included", once, "s", "")

    random = np.random.default_rng(0)
    a, b = (random.normal(size=(8, MILLION)) for _ in range(2))

    def by_scipy() -> None:
        for left, right in zip(a, b, strict=True):
            scipy.stats.ks_2samp(left, right, method="asymp")
            scipy.stats.wasserstein_distance(left, right)

    raw = _seconds(by_scipy, 1)
    yield _figure("KS and Wasserstein of 8 features of a million rows by scipy", raw, "s", "")
    drift, days = _filled(folder)
    owner = Principal(id=UUID(int=1), workspace="default", name="bench", role=Role.OWNER)
    drift.report(owner, "people", days[0], days[1])  # loads what it needs
    many = Window(days[1].since, days[-1].until)
    for name, window in (("a day", days[-1]), (f"{DAYS - 1} days", many)):
        took = _seconds(partial(drift.report, owner, "people", window, days[0]), 5)
        yield _figure(f"a report on {name} of {FEATURES} features", took * 1e3, "ms", "")
        yield _figure(f"the same over scipy's of 8 features, {name}", took / raw, "", "")


def _filled(folder: Path) -> tuple[Drift, list[Window]]:
    """A database with thirty days of hours, thirty features each."""
    database = Database(f"sqlite:///{folder / 'modelyard.db'}")
    database.migrate()
    random = np.random.default_rng(1)
    origin = Origin("default", "people", "ages", 1)
    for day in range(DAYS):
        with database.write() as tx:
            for hour in range(24):
                columns = {"age": random.normal(size=2000)}
                columns |= {f"x{i}": random.normal(size=2000) for i in range(FEATURES - 1)}
                part = NewPart(
                    _BEGIN + timedelta(days=day, hours=hour), 2000, pack(sketched(columns))
                )
                tx.sketches.put(origin, part, _merge)
    files = CapturedFiles(folder / "captured")
    windows = [
        Window(_BEGIN + timedelta(days=day), _BEGIN + timedelta(days=day + 1))
        for day in range(DAYS)
    ]
    return Drift(database, Sketcher(database, files, "default"), folder), windows


def _merge(parts: Sequence[bytes]) -> bytes:
    return pack(merged(parts))


def _seconds(step: Callable[[], object], rounds: int) -> float:
    """Of the fastest round."""
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        step()
        times.append(time.perf_counter() - began)
    return min(times)


def _figure(name: str, value: float, unit: str, goal: str) -> dict[str, Any]:
    return {"figure": name, "value": value, "unit": unit, "goal": goal}
