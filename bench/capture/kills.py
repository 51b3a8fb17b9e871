"""Requests with unique numbers, while `kill -9` meets every kind of process: what is recorded.

The numbers that were answered are compared with those in the records, and
`capture verify` is asked.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

import modelyard
from bench._race import figure
from bench.capture.posting import Posting, numbered
from bench.gateway.product import Product, product
from modelyard.errors import ModelyardError

REQUESTS = int(os.environ.get("BENCH_REQUESTS", "10000"))
RATE = 50.0
KILLS = max(10, REQUESTS // 150)
"""So many at least; then more is asked than `REQUESTS`."""
SEED = 6
AWAY_EVERY, _AWAY = 12.0, 4.0
"""Seconds from one time that the folder of the records is away to the next, and how long it is."""
_WAIT = 120.0
_PATIENCE = 25.0
"""Seconds that a process of the chosen kind is waited for."""


def run() -> Iterator[dict[str, Any]]:
    """The figures."""
    with product() as running:
        service = running.deploy(running.image(), replicas=2, capture="100%")
        port, wire = service
        uri = f"http://127.0.0.1:{port}{wire.path}"
        posting = Posting(uri, dict(wire.headers), numbered, RATE)
        with posting.going_on():
            killed = _kill_until(running, posting)
            _again()
        with modelyard.connect() as yard:
            account = yard.captures.verify("bench", wait=_WAIT)
            table = yard.captures.query(
                "SELECT CAST(inputs->'number' AS INTEGER), prediction_id FROM requests"
            )
    recorded = Counter(number for number, _ in table.rows)
    names = dict(table.rows)
    missing = [n for n, name in posting.acknowledged.items() if names.get(n) != name]
    for kind, count in sorted(killed.items()):
        yield figure(f"kills of {kind}", count, "kills")
    yield figure("requests", posting.tried, "requests")
    yield figure("requests without an answer", posting.failed, "requests")
    yield figure("acknowledged", len(posting.acknowledged), "requests")
    yield figure("acknowledged, missing", len(missing), "records", "<= 0")
    yield figure("recorded twice", sum(recorded.values()) - len(recorded), "records", "<= 0")
    yield figure("verify: missing", max(0, account.missing), "records", "<= 0")
    yield figure("verify: doubled", account.doubled, "records", "<= 0")
    yield figure("verify: still on their way", account.waiting, "segments", "<= 0")


def _kill_until(running: Product, posting: Posting) -> Counter[str]:
    choose = random.Random(SEED)
    killed: Counter[str] = Counter()
    kinds: dict[str, Callable[[Product], list[psutil.Process]]] = {
        "workers": workers,
        "sealers": sealers,
        "the agent (shipper)": agents,
        "gateway processes": gateways,
        "the server": _servers,
    }
    folder = running.home / "captured"
    away_at = time.monotonic() + AWAY_EVERY / 2
    while len(posting.acknowledged) < REQUESTS or killed.total() < KILLS:
        kind = choose.choice(list(kinds))
        killed[kind] += _kill(lambda kind=kind: kinds[kind](running), choose)
        if kind == "the server":
            threading.Thread(target=_again, daemon=True).start()
        if time.monotonic() > away_at:
            take_away(folder)
            away_at = time.monotonic() + AWAY_EVERY
    return killed


def _kill(find: Callable[[], list[psutil.Process]], choose: random.Random) -> int:
    """Kill one of those that there are, as soon as there is one."""
    time.sleep(choose.uniform(0, 0.5))
    give_up = time.monotonic() + _PATIENCE
    while time.monotonic() < give_up:
        with suppress(OSError, ValueError, LookupError, TypeError, psutil.Error):
            found = find()
            if found:
                choose.choice(found).kill()
                return 1
        time.sleep(0.005)
    return 0


def take_away(folder: Path) -> None:
    """A file stands where the folder was."""
    away = folder.with_name("captured.away")
    folder.mkdir(exist_ok=True)
    folder.rename(away)
    folder.write_text("")
    try:
        time.sleep(_AWAY)
    finally:
        folder.unlink()
        away.rename(folder)


def _again() -> None:
    """Start another server."""
    for _ in range(10):
        try:
            with modelyard.connect() as yard:
                yard.services.get("bench")
                return
        except ModelyardError:
            time.sleep(0.5)


def _process(running: Product, *path: str, field: str = "pid") -> psutil.Process:
    return psutil.Process(running.document(*path)[field])


def agents(running: Product) -> list[psutil.Process]:
    """The agent, which ships."""
    return [_process(running, "agent", "agent.json")]


def sealers(running: Product) -> list[psutil.Process]:
    """Those that turn segments into Parquet now."""
    (agent,) = agents(running)
    return [one for one in agent.children() if "modelyard.capture.sealing" in one.cmdline()]


def _servers(running: Product) -> list[psutil.Process]:
    return [_process(running, "server.json")]


def gateways(running: Product) -> list[psutil.Process]:
    """All processes of the gateway."""
    return [psutil.Process(pid) for pid in running.gateway_processes()]


def workers(running: Product) -> list[psutil.Process]:
    """One worker of each replica."""
    return [[one, *one.children(recursive=True)][-1] for one in runtimes(running)]


def runtimes(running: Product) -> list[psutil.Process]:
    """The first process of each replica's runtime."""
    states = (running.home / "agent" / "replicas").glob("*/state.json")
    paths = [state.relative_to(running.home).parts for state in states]
    return [_process(running, *path, field="runtime") for path in paths]
