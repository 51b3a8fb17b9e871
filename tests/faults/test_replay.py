"""The server is killed in the middle of a replay: the operation says so, and nothing goes on."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from pathlib import Path

import psutil
from tests.e2e.conftest import build_breakable
from tests.faults.running import server_pid, wait_for

import modelyard

PROGRAM = "modelyard.monitoring.replaying"


def of_replays(pid: int) -> list[psutil.Process]:
    """What a server has started for a replay."""
    below = psutil.Process(pid).children(recursive=True)
    return [one for one in below if PROGRAM in command(one) or "modelyard-check-" in command(one)]


def runs(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    return False


def command(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def test_a_replay_ends_with_its_server(product: None, tmp_path: Path) -> None:
    with modelyard.connect() as client:
        image = build_breakable(client, tmp_path, "slow").reference
        client.services.deploy("slow", image, capture="100%")
        for _ in range(4):
            client.services.score("slow", {"sleep": 0.7})
        wait_for(lambda: bool(client.captures.list("slow")))
        assert client.captures.verify("slow").is_final

        begun = threading.Event()

        def replay() -> None:
            with suppress(modelyard.ModelyardError):  # the server goes
                client.replays.run("slow", image, on_log=lambda line: begun.set())

        waiting = threading.Thread(target=replay)
        waiting.start()
        assert begun.wait(60)
        killed = server_pid()
        wait_for(lambda: any(PROGRAM in command(one) for one in of_replays(killed)))
        started = of_replays(killed)
        operation = client.operations.list(limit=1)[0]
        os.kill(killed, signal.SIGKILL)
        waiting.join(60)
    with modelyard.connect() as client:  # starts another server
        ended = client.operations.get(operation.id)
        assert ended.state is modelyard.OperationState.FAILED
        assert ended.error is not None
        assert ended.error["details"]["cause"]["code"] == "interrupted"
        wait_for(lambda: not any(map(runs, started)))
        client.services.delete("slow")
