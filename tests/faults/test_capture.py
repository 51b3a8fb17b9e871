"""What was answered is recorded, once, whatever is killed meanwhile and whatever is full."""

from __future__ import annotations

import json
import os
import random
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from tests.e2e.conftest import build_breakable
from tests.programs import unavailable

import modelyard

REQUESTS = 300
CLIENTS = 4


class Posting:
    """Clients that post unique ids; what was acknowledged is remembered by its prediction id."""

    def __init__(self, uri: str, key: str) -> None:
        self._uri, self._headers = uri, {"Authorization": f"Bearer {key}"}
        self.acknowledged: dict[str, int] = {}
        self.tried = 0
        self._lock = threading.Lock()
        self._over = threading.Event()

    @contextmanager
    def going_on(self) -> Iterator[None]:
        threads = [threading.Thread(target=self._post) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in threads:
                thread.join()

    def more(self, count: int) -> None:
        """Wait until so many more were acknowledged."""
        goal, deadline = len(self.acknowledged) + count, time.monotonic() + 60
        while len(self.acknowledged) < goal:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def post(self, filling: bytes = b"") -> bool:
        """Post one more; whether it was answered."""
        with self._lock:
            self.tried += 1
            number = self.tried
        body = b'{"number": %d, "filling": "%b"}' % (number, filling.hex().encode())
        try:
            request = urllib.request.Request(self._uri, body, self._headers)
            with urllib.request.urlopen(request, timeout=30) as answer:
                answer.read()
                with self._lock:
                    self.acknowledged[answer.headers["x-prediction-id"]] = number
        except (urllib.error.HTTPError, OSError):
            return False
        return True

    def _post(self) -> None:
        while not self._over.wait(0.01):
            self.post()


def agent(home: Path) -> psutil.Process:
    return psutil.Process(json.loads((home / "agent" / "agent.json").read_text())["pid"])


def find(kind: str, home: Path) -> list[psutil.Process]:
    """The processes of this kind that live now."""
    try:
        if kind == "agent":
            return [agent(home)]
        if kind == "sealer":
            return [p for p in agent(home).children() if "modelyard.capture.sealing" in p.cmdline()]
        states = (home / "agent" / "replicas").glob("*/state.json")
        runtimes = [psutil.Process(json.loads(path.read_text())["runtime"]) for path in states]
        return [[runtime, *runtime.children(recursive=True)][-1] for runtime in runtimes]
    except (OSError, ValueError, TypeError, LookupError, psutil.Error):
        return []  # killed, and not there again yet


def kill(kind: str, home: Path, choose: random.Random) -> None:
    """Kill one of this kind, as soon as there is one."""
    time.sleep(choose.uniform(0, 0.5))
    deadline = time.monotonic() + 60
    while not (found := find(kind, home)):
        assert time.monotonic() < deadline, f"there is no {kind}"
        time.sleep(0.005)
    with suppress(psutil.Error):
        choose.choice(found).kill()


@contextmanager
def store_away(folder: Path) -> Iterator[None]:
    """There is a file where the records' folder was."""
    away = folder.with_name("captured.away")
    folder.mkdir(exist_ok=True)
    folder.rename(away)
    folder.write_text("")
    try:
        yield
    finally:
        folder.unlink()
        away.rename(folder)


def test_what_was_acknowledged_is_recorded_once(product: None, tmp_path: Path) -> None:
    home = Path(os.environ["MODELYARD_HOME"])
    with modelyard.connect() as yard:
        image = build_breakable(yard, tmp_path, "kept")
        service = yard.services.deploy("kept", image.reference, replicas=2, capture="100%")
        assert service.scoring_uri is not None
        posting = Posting(service.scoring_uri, yard.services.keys("kept").primary)
        with posting.going_on():
            for kind in ("worker", "sealer", "agent", "sealer", "worker"):
                kill(kind, home, random.Random(6))
            with store_away(home / "captured"):
                posting.more(REQUESTS // 2)
                kill("agent", home, random.Random(6))
            posting.more(REQUESTS // 2)
        account = yard.captures.verify("kept", wait=60)
        assert account.is_final
        assert account.holds, account
        rows = yard.captures.query(
            "SELECT prediction_id, CAST(inputs->'number' AS INTEGER), status FROM requests",
            service="kept",
        ).rows
        times = Counter(row[0] for row in rows)
        recorded = {row[0]: row[1] for row in rows}
        missing = posting.acknowledged.keys() - recorded.keys()
        assert not missing
        assert max(times.values()) == 1
        assert all(recorded[name] == number for name, number in posting.acknowledged.items())
        yard.services.delete("kept")


@contextmanager
def small_disk(place: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    options = ["-t", "tmpfs", "-o", "size=1m", "modelyard-test"]
    done = subprocess.run(
        ["mount", *options, str(place)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        reason = f"this machine lets nobody mount: {done.stderr.strip()}"
        unavailable(reason)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def start_again(home: Path, posting: Posting) -> None:
    """A new runtime, whose sandbox sees what was mounted meanwhile."""
    (state,) = (home / "agent" / "replicas").glob("full*/state.json")
    before = json.loads(state.read_text())["runtime"]
    psutil.Process(before).kill()
    deadline = time.monotonic() + 60
    while json.loads(state.read_text())["runtime"] in (before, None) or not posting.post():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_full_disk_costs_counted_records_and_no_answer(product: None, tmp_path: Path) -> None:
    if os.geteuid() != 0 or os.uname().sysname != "Linux":
        reason = "mounting a small disk needs root on Linux"
        unavailable(reason)
    home = Path(os.environ["MODELYARD_HOME"])
    with modelyard.connect() as yard:
        image = build_breakable(yard, tmp_path, "full")
        service = yard.services.deploy("full", image.reference)
        assert service.scoring_uri is not None
        posting = Posting(service.scoring_uri, yard.services.keys("full").primary)
        (folder,) = (home / "agent" / "replicas").glob("full*/captured")
        with small_disk(folder) as disk:
            start_again(home, posting)
            yard.services.update("full", capture="100%")
            posting.acknowledged.clear()
            assert all([posting.post() for _ in range(10)])
            with suppress(OSError), (disk / "ballast").open("wb", buffering=0) as file:
                while file.write(bytes(4096)) == 4096:
                    pass
            assert all([posting.post(bytes(8192)) for _ in range(20)])
            (disk / "ballast").unlink()
            time.sleep(1)  # a spool looks again after half a second
            last = posting.tried
            assert all([posting.post() for _ in range(10)])
            account = yard.captures.verify("full", wait=60)
        assert account.is_final
        recorded = {
            row[0]
            for row in yard.captures.query(
                "SELECT prediction_id FROM requests", service="full"
            ).rows
        }
        assert recorded <= posting.acknowledged.keys()
        assert len(posting.acknowledged) == account.answered == 40
        assert account.dropped == 40 - len(recorded) >= 10
        assert account.captured == len(recorded)
        assert {name for name, number in posting.acknowledged.items() if number > last} <= recorded
        yard.services.delete("full")
