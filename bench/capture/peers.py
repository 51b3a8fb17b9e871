"""The same clients against what others record: BentoML's monitoring and MLflow's tracing.

Each is asked twice: first nothing is killed, then workers are, about as often as ours kills
something; they are started again by those they belong to. Nothing else is taken from them: neither
the folder nor the database that they record into. What was answered and is in no record is missing;
one that is there twice is doubled.
"""

from __future__ import annotations

import json
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from subprocess import run as run_program
from typing import Any

import psutil

from bench._race import figure, free_port, running, wait_for
from bench.capture.kills import RATE, SEED
from bench.capture.posting import Posting
from bench.capture.tracking import database, traced
from bench.runtime.environments import Unavailable, environment
from bench.runtime.measure import say
from bench.runtime.processes import Family

_PROGRAMS = Path(__file__).parent / "programs"
_REQUESTS = 2000
_BETWEEN_KILLS = 40, 120
"""Requests that are answered between two kills, from and to."""
_SETTLE, _QUIET, _LOOK = 240.0, 30.0, 3.0
"""Seconds that they have for what they write later, without news after which it is all there, and
between two looks.
"""


@dataclass(frozen=True)
class Kept:
    """Where one keeps what it records.

    Attributes:
        variables: What it needs to record there.
        read: The numbers that are in its records.
    """

    variables: dict[str, str]
    read: Callable[[], Counter[int]]


@dataclass(frozen=True)
class Peer:
    """One that records what it has answered.

    Attributes:
        records: Its name, and what of it records.
        environment: Name of its list of requirements, in `bench.runtime`.
        command: Starts it at a port.
        keep: Makes where it keeps its records, in an empty folder and with such variables.
        path: Where it is asked.
        body: What it is asked about a number.
    """

    records: str
    environment: str
    command: Callable[[int], list[str]]
    keep: Callable[[Path, dict[str, str]], AbstractContextManager[Kept]]
    path: str
    body: Callable[[int], bytes]


@dataclass(frozen=True)
class Account:
    """What was seen of one."""

    acknowledged: int
    failed: int
    missing: int
    doubled: int
    killed: int


def run() -> Iterator[dict[str, Any]]:
    """The figures."""
    for peer in _PEERS:
        try:
            yield from _figures(peer)
        except Unavailable as error:
            say(f"{peer.records}: {error}")


def _figures(peer: Peer) -> Iterator[dict[str, Any]]:
    calm = _account(peer, kills=False)
    yield figure(f"{peer.records}: acknowledged, no kills", calm.acknowledged, "requests")
    yield figure(f"{peer.records}: missing without a kill", calm.missing, "records")
    yield figure(f"{peer.records}: doubled without a kill", calm.doubled, "records")
    seen = _account(peer, kills=True)
    yield figure(f"{peer.records}: kills of workers", seen.killed, "kills")
    yield figure(f"{peer.records}: acknowledged", seen.acknowledged, "requests")
    yield figure(f"{peer.records}: requests without an answer", seen.failed, "requests")
    yield figure(f"{peer.records}: acknowledged, missing", seen.missing, "records")
    yield figure(f"{peer.records}: recorded twice", seen.doubled, "records")


def _account(peer: Peer, kills: bool) -> Account:
    home, port = environment(peer.environment), free_port()
    with tempfile.TemporaryDirectory(prefix="my-", ignore_cleanup_errors=True) as name:
        variables = {
            "PATH": f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "HOME": name,
            "TMPDIR": name,
            "PYTHONPATH": str(_PROGRAMS),
            "DO_NOT_TRACK": "true",
            "BENTOML_DO_NOT_TRACK": "true",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        with (
            peer.keep(Path(name), variables) as kept,
            running(peer.command(port), variables | kept.variables) as family,
        ):
            wait_for(port)
            uri = f"http://127.0.0.1:{port}{peer.path}"
            posting = Posting(uri, {}, peer.body, RATE)
            with posting.going_on():
                killed = _until_asked(posting, family if kills else None)
            recorded = _settled(kept.read, posting)
    missing = [number for number in posting.acknowledged if number not in recorded]
    doubled = sum(recorded.values()) - len(recorded)
    return Account(len(posting.acknowledged), posting.failed, len(missing), doubled, killed)


def _settled(read: Callable[[], Counter[int]], posting: Posting) -> Counter[int]:
    """What is recorded once all is there, or nothing more comes."""
    recorded, since, give_up = read(), time.monotonic(), time.monotonic() + _SETTLE
    while time.monotonic() < min(since + _QUIET, give_up):
        if recorded.keys() >= posting.acknowledged.keys():
            break
        time.sleep(_LOOK)
        if (now := read()) != recorded:
            recorded, since = now, time.monotonic()
    return recorded


def _until_asked(posting: Posting, family: Family | None) -> int:
    """Wait until enough was answered, and kill workers of a family meanwhile; how many."""
    choose = random.Random(SEED)
    killed = 0
    while len(posting.acknowledged) < _REQUESTS:
        posting.until(len(posting.acknowledged) + choose.randint(*_BETWEEN_KILLS))
        if family and (workers := _workers(family)):
            choose.choice(workers).kill()
            killed += 1
    return killed


def _workers(family: Family) -> list[psutil.Process]:
    """Those that live and are not the first process, which starts them again."""
    found = []
    for pid in family.pids()[1:]:
        with suppress(psutil.Error):
            process = psutil.Process(pid)
            if "resource_tracker" not in " ".join(process.cmdline()):
                found.append(process)
    return found


def _bentoml(port: int) -> list[str]:
    where = ["--host", "127.0.0.1", "--port", str(port), "--working-dir", str(_PROGRAMS)]
    return ["bentoml", "serve", "bentoml_kept:Kept", *where]


@contextmanager
def _bentoml_keeps(folder: Path, variables: dict[str, str]) -> Iterator[Kept]:
    del variables
    records = folder / "records"
    records.mkdir()
    yield Kept({"BENCH_RECORDS": str(records)}, lambda: _read_bentoml(records))


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


@contextmanager
def _mlflow_keeps(folder: Path, variables: dict[str, str]) -> Iterator[Kept]:
    model = folder / "model"
    with database(folder / "database") as uri:
        own = variables | {"MLFLOW_TRACKING_URI": uri, "__pyfunc_model_path__": str(model)}
        save = ["python", str(_PROGRAMS / "mlflow_kept.py"), str(model)]
        run_program(save, env=own, check=True, capture_output=True, cwd=folder)
        recorded = _PROGRAMS / "mlflow_recorded.py"
        traced(recorded, own)  # makes the tables
        yield Kept(own, lambda: traced(recorded, own))


_PEERS = (
    Peer(
        "BentoML, monitoring",
        "bentoml",
        _bentoml,
        _bentoml_keeps,
        "/score",
        lambda number: json.dumps({"number": number}).encode(),
    ),
    Peer(
        "MLflow, tracing",
        "mlflow",
        _mlflow,
        _mlflow_keeps,
        "/invocations",
        lambda number: json.dumps({"dataframe_records": [{"number": number}]}).encode(),
    ),
)
