"""Captured records in an object store that goes away: nothing is lost, and no secret is told."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import psutil
import pytest
from tests.e2e.conftest import a_home, build_breakable
from tests.stores import SECRET, StoreServer

import modelyard
from modelyard.domain.captured import Account

COUNT = "SELECT count(DISTINCT prediction_id), count(*) FROM requests"


def verified(yard: modelyard.Client) -> Account:
    """The account, once the server looks at the store again."""
    deadline = time.monotonic() + 120
    while True:
        try:
            return yard.captures.verify("far", wait=120)
        except modelyard.Unavailable:
            assert time.monotonic() < deadline
            time.sleep(0.5)


def waiting_of(yard: modelyard.Client) -> int:
    return yard.captures.verify("far", wait=0).waiting


def test_records_wait_on_their_host_while_the_store_is_away(tmp_path: Path) -> None:
    store = StoreServer(tmp_path)
    store.start()
    url = "s3://records/of/this"
    with (
        a_home(MODELYARD_CAPTURE_STORE=url, **store.variables) as home,
        modelyard.connect() as yard,
    ):
        try:
            image = build_breakable(yard, tmp_path, "far")
            yard.services.deploy("far", image.reference, capture="100%")
            for number in range(10):
                yard.services.score("far", {"number": number})
            account = yard.captures.verify("far", wait=60)
            assert (account.captured, account.holds, account.is_final) == (10, True, True)

            store.kill()
            for number in range(100):
                yard.services.score("far", {"number": number})
            deadline = time.monotonic() + 60
            while not waiting_of(yard):  # the agent tells of them while it cannot send them
                assert time.monotonic() < deadline
                time.sleep(0.2)
            shutil.rmtree(home / "captured" / "service=far")  # the copies
            with pytest.raises(modelyard.Unavailable, match=f"{url}, cannot give"):
                yard.captures.query(COUNT, service="far")
            store.start()

            account = verified(yard)
            assert account.is_final
            assert account.holds, account
            assert (account.captured, account.dropped) == (110, 0)
            shutil.rmtree(home / "captured" / "service=far")
            assert yard.captures.query(COUNT, service="far").rows == ((110, 110),)
            assert yard.captures.forget("far", "number", 3).requests == 2
            shutil.rmtree(home / "captured" / "service=far")
            assert yard.captures.query(COUNT, service="far").rows == ((108, 108),)
            assert told(home) == []
        finally:
            store.kill()


def told(home: Path) -> list[str]:
    """Where the store's secret stands, but for the server's own environment."""
    folders = (path for path in home.iterdir() if path.name not in ("blobs", "layers"))
    files = (p for folder in folders for p in (folder, *folder.rglob("*")) if p.is_file())
    found = [str(path) for path in files if SECRET.encode() in path.read_bytes()]
    (log,) = home.rglob("server.log")
    assert b"takes captured records again" in log.read_bytes()  # it has said what it saw
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if any(SECRET in word for word in words):
            found.append(" ".join(words))
        elif "modelyard.app" not in words and any(str(home) in word for word in words):
            found += [words[0]] if SECRET in process.environ().values() else []
    return found
