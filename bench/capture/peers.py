"""The same clients against what others record: BentoML's monitoring and MLflow's tracing.

Only their workers are killed, which they start again by themselves, as often as ours kills
something. The folder that they record into is away as ours is. What was answered and is in no
record is missing; one that is there twice is doubled.
"""

from __future__ import annotations

import json
import os
import random
import sqlite3
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from bench._race import figure, free_port, running, wait_for
from bench.capture.kills import AWAY_EVERY, KILLS, RATE, REQUESTS, SEED, take_away
from bench.capture.posting import Posting
from bench.runtime.environments import Unavailable, environment
from bench.runtime.measure import say
from bench.runtime.processes import Family

_PROGRAMS = Path(__file__).parent / "programs"
_SETTLE, _QUIET = 120.0, 10.0
"""Seconds that they have for what they write later, and without news after which it is all there.
"""


@dataclass(frozen=True)
class Peer:
    """One that records what it has answered.

    Attributes:
        records: Its name, and what of it records.
        environment: Name of its list of requirements, in `bench.runtime`.
        command: Starts it at a port.
        variables: What it needs in a folder of its own.
        path: Where it is asked.
        body: What it is asked about a number.
        read: The numbers in its records, in that folder.
    """

    records: str
    environment: str
    command: Callable[[int], list[str]]
    variables: Callable[[Path], dict[str, str]]
    path: str
    body: Callable[[int], bytes]
    read: Callable[[Path], Counter[int]]


def run() -> Iterator[dict[str, Any]]:
    """The figures."""
    for peer in _PEERS:
        try:
            yield from _figures(peer)
        except Unavailable as error:
            say(f"{peer.records}: {error}")


def _figures(peer: Peer) -> Iterator[dict[str, Any]]:
    home, port = environment(peer.environment), free_port()
    with tempfile.TemporaryDirectory(prefix="my-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "records").mkdir()
        variables = {
            "PATH": f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "HOME": name,
            "TMPDIR": name,
            "PYTHONPATH": str(_PROGRAMS),
            "DO_NOT_TRACK": "true",
            "BENTOML_DO_NOT_TRACK": "true",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        variables |= peer.variables(folder)
        with running(peer.command(port), variables) as family:
            wait_for(port)
            uri = f"http://127.0.0.1:{port}{peer.path}"
            posting = Posting(uri, {}, peer.body, RATE)
            with posting.going_on():
                killed = _kill_until(posting, family, folder / "records")
            recorded = _settled(lambda: peer.read(folder / "records"))
    missing = [number for number in posting.acknowledged if number not in recorded]
    doubled = sum(recorded.values()) - len(recorded)
    yield figure(f"{peer.records}: kills of workers", killed, "kills")
    yield figure(f"{peer.records}: acknowledged", len(posting.acknowledged), "requests")
    yield figure(f"{peer.records}: requests without an answer", posting.failed, "requests")
    yield figure(f"{peer.records}: acknowledged, missing", len(missing), "records")
    yield figure(f"{peer.records}: recorded twice", doubled, "records")


def _settled(read: Callable[[], Counter[int]]) -> Counter[int]:
    """What is recorded once nothing more comes."""
    recorded, since, give_up = read(), time.monotonic(), time.monotonic() + _SETTLE
    while time.monotonic() < min(since + _QUIET, give_up):
        time.sleep(0.5)
        if (now := read()) != recorded:
            recorded, since = now, time.monotonic()
    return recorded


def _kill_until(posting: Posting, family: Family, records: Path) -> int:
    choose = random.Random(SEED)
    posting.until(50)
    killed, away_at = 0, time.monotonic() + AWAY_EVERY / 2
    while len(posting.acknowledged) < REQUESTS or killed < KILLS:
        time.sleep(choose.uniform(0, 0.5))
        with suppress(psutil.Error):
            workers = _workers(family)
            if workers:
                choose.choice(workers).kill()
                killed += 1
        if time.monotonic() > away_at:
            take_away(records)
            away_at = time.monotonic() + AWAY_EVERY
        posting.until(len(posting.acknowledged) + 1)
    return killed


def _workers(family: Family) -> list[psutil.Process]:
    first, *others = map(psutil.Process, family.pids())
    del first
    return [one for one in others if "resource_tracker" not in " ".join(one.cmdline())]


def _bentoml(port: int) -> list[str]:
    where = ["--host", "127.0.0.1", "--port", str(port), "--working-dir", str(_PROGRAMS)]
    return ["bentoml", "serve", "bentoml_kept:Kept", *where]


def _bentoml_variables(folder: Path) -> dict[str, str]:
    return {"BENCH_RECORDS": str(folder / "records")}


def _read_bentoml(records: Path) -> Counter[int]:
    found: Counter[int] = Counter()
    for path in records.rglob("data*.log*"):
        for line in path.read_text().splitlines():
            with suppress(ValueError, KeyError):  # a line that was cut short
                found[int(json.loads(line)["number"])] += 1
    return found


def _mlflow(port: int) -> list[str]:
    """Its `models serve` starts exactly this."""
    where = ["--host", "127.0.0.1", "--port", str(port), "--workers", "2"]
    return ["uvicorn", *where, "mlflow.pyfunc.scoring_server.app:app"]


def _mlflow_variables(folder: Path) -> dict[str, str]:
    home, model = environment("mlflow"), folder / "model"
    store = f"sqlite:///{folder / 'records' / 'mlflow.db'}"
    variables = {"PATH": str(home / "bin"), "HOME": str(folder), "MLFLOW_TRACKING_URI": store}
    command = [str(home / "bin" / "python"), str(_PROGRAMS / "mlflow_kept.py"), str(model)]
    subprocess.run(command, env=variables, check=True, capture_output=True, cwd=folder)
    prepare = [str(home / "bin" / "python"), "-c", "import mlflow; mlflow.search_experiments()"]
    subprocess.run(prepare, env=variables, check=True, capture_output=True, cwd=folder)
    return {"MLFLOW_TRACKING_URI": store, "__pyfunc_model_path__": str(model)}


def _read_mlflow(records: Path) -> Counter[int]:
    with sqlite3.connect(records / "mlflow.db") as database:
        rows = database.execute("SELECT value FROM trace_tags WHERE key = 'number'")
        return Counter(int(value) for (value,) in rows)


_PEERS = (
    Peer(
        "BentoML, monitoring",
        "bentoml",
        _bentoml,
        _bentoml_variables,
        "/score",
        lambda number: json.dumps({"number": number}).encode(),
        _read_bentoml,
    ),
    Peer(
        "MLflow, tracing",
        "mlflow",
        _mlflow,
        _mlflow_variables,
        "/invocations",
        lambda number: json.dumps({"dataframe_records": [{"number": number}]}).encode(),
        _read_mlflow,
    ),
)
