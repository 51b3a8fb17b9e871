"""The model registry with 100,000 versions: searches, and registrations at once.

Half of the versions are of one name and one tag is on all of them, which is what makes a search
by tag hard: neither the common nor the rare case may walk through everything.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import insert

from modelyard.domain.model import ModelFile, ModelFormat
from modelyard.domain.search import Search
from modelyard.schemas import FileReference, RegisterModel
from modelyard.store import DEFAULT_WORKSPACE, Database
from modelyard.store.labels import Labels, words
from modelyard.store.rows import LabelKind, ModelFileRow, ModelLabelRow, ModelRow

VERSIONS = 100_000
SEARCHES = 100
AT_ONCE = 50
DIGEST = f"sha256:{'0' * 64}"
FILE = FileReference(path="model.pkl", digest=DIGEST)


def labels(number: int) -> Labels:
    """Tags from everywhere to nearly nowhere."""
    tags = {
        "team": "all",
        "stage": ("test", "live")[number % 2],
        "run": str(number),
        "batch": str(number // 100),
    }
    if number % 10_000 == 0:
        tags["champion"] = ""
    return Labels(tags, {"accuracy": f"{number % 100 / 100:.2f}"})


def fill(database: Database) -> None:
    """Put the versions in, past the repository: one by one would take minutes."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    with database.write() as tx:
        tx.blobs.record(DIGEST, 5, datetime.now(UTC) + timedelta(days=1))
        for start in range(0, VERSIONS, 10_000):
            numbers = range(start, start + 10_000)
            tx._session.execute(insert(ModelRow), [_row(number, now) for number in numbers])
            tx._session.execute(
                insert(ModelFileRow),
                [
                    {
                        "model": number + 1,
                        "position": 0,
                        "path": "model.pkl",
                        "digest": DIGEST,
                        "size": 5,
                    }
                    for number in numbers
                ],
            )
            tx._session.execute(
                insert(ModelLabelRow), [row for number in numbers for row in _label_rows(number)]
            )


def _row(number: int, now: datetime) -> dict[str, Any]:
    name = "popular" if number % 2 else f"model-{number // 100}"
    return {
        "seq": number + 1,
        "id": uuid4(),
        "workspace": DEFAULT_WORKSPACE,
        "name": name,
        "version": number + 1,
        "format": ModelFormat.PICKLE,
        "framework": "scikit-learn",
        "framework_version": "1.7.2",
        "description": f"trained by run {number}",
        "words": words(name, f"trained by run {number}", labels(number)),
        "created_at": now + timedelta(seconds=number),
        "created_by": "owner",
    }


def _label_rows(number: int) -> Iterator[dict[str, Any]]:
    both = labels(number)
    for kind, entries in ((LabelKind.TAG, both.tags), (LabelKind.PROPERTY, both.properties)):
        for key, value in entries.items():
            yield {
                "owner": number + 1,
                "kind": kind,
                "key": key,
                "value": value,
                "workspace": DEFAULT_WORKSPACE,
            }


def searches_by_tag() -> Iterator[Search]:
    """What people ask, rare and common, alone and combined, on the first page and deep inside."""
    number = random.randrange(VERSIONS)
    batch = number // 100
    yield Search(tag=("team",))
    yield Search(tag=("team=all",))
    yield Search(tag=("stage=live",))
    yield Search(tag=(f"run={number}",))
    yield Search(tag=(f"batch={batch}",))
    yield Search(tag=("champion",))
    yield Search(tag=("team=all", f"run={number}"))
    yield Search(tag=("stage=live", "champion"))
    yield Search(tag=("team", f"batch={batch}"), name="popular")
    yield Search(tag=("stage=live",), property=("accuracy=0.99",), framework="scikit-learn")
    yield Search(tag=("team=nobody",))


def percentile(times: list[float], share: float) -> float:
    """The time below which this share of all lies."""
    return sorted(times)[min(len(times) - 1, int(len(times) * share))]


def timed(database: Database, ask: Callable[[], Iterator[Search]], rounds: int) -> list[float]:
    """Milliseconds of each search, with everything that a caller gets."""
    times = []
    for _ in range(rounds):
        for search in ask():
            began = time.perf_counter()
            with database.read() as tx:
                tx.models.search(DEFAULT_WORKSPACE, search)
            times.append((time.perf_counter() - began) * 1000)
    return times


def register(database: Database, name: str) -> int:
    """Register one version."""
    with database.write() as tx:
        model = tx.models.add(
            DEFAULT_WORKSPACE,
            RegisterModel(name=name, files=(FILE,), tags={"stage": "test"}),
            files=[ModelFile(path="model.pkl", digest=DIGEST, size=5)],
            format=ModelFormat.PICKLE,
            framework=None,
            created_by="owner",
        )
    return model.version


def at_once(database: Database) -> float:
    """Registrations per second, 50 at a time under one name; the numbers must come in a row."""
    began = time.perf_counter()
    with ThreadPoolExecutor(AT_ONCE) as threads:
        versions = list(threads.map(lambda _: register(database, "rush"), range(4 * AT_ONCE)))
    took = time.perf_counter() - began
    assert sorted(versions) == list(range(1, 4 * AT_ONCE + 1))
    return len(versions) / took


def run() -> Iterator[dict[str, Any]]:
    """The figures."""
    with tempfile.TemporaryDirectory(prefix="my-") as folder:
        database = Database(f"sqlite:///{Path(folder) / 'modelyard.db'}")
        database.migrate()
        fill(database)
        by_tag = timed(database, searches_by_tag, SEARCHES)
        for share, goal in ((0.5, ""), (0.99, "<= 50")):
            yield {
                "figure": f"search by tag over 100,000 versions, p{share * 100:.0f}",
                "value": percentile(by_tag, share),
                "unit": "ms",
                "goal": goal,
            }
        by_text = timed(database, lambda: iter([Search(text="run 77777"), Search()]), SEARCHES // 4)
        yield {
            "figure": "search by text over 100,000 versions, p99",
            "value": percentile(by_text, 0.99),
            "unit": "ms",
            "goal": "",
        }
        yield {
            "figure": "registrations, 50 at once",
            "value": at_once(database),
            "unit": "1/s",
            "goal": "",
        }
        database.close()
