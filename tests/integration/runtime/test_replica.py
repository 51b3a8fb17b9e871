"""Real replicas: start, scoring, workers, drain, and the cause of every start that fails."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from tests.integration.runtime.replica import BASE_PYTHON, PACKAGES, Replica, is_alive, replica
from tests.integration.runtime.wire import PATIENCE, Wire, request

ECHO = """
import os, sys, time

def init():
    print("init by", os.getpid())

def run(data: list):
    name, *rest = data
    if name == "pid": return os.getpid()
    if name == "sleep": time.sleep(rest[0])
    if name == "raise": raise ValueError("secret")
    if name == "print": print("said", *rest); print("cried", *rest, file=sys.stderr)
    return data
"""
THREADED = """
import os, threading, time
def init():
    print("init by", os.getpid())
    threading.Thread(target=time.sleep, args=[1000], daemon=True).start()
def run(data: list):
    return [os.getpid(), threading.active_count()]
"""


class TestServing:
    def test_scores(self) -> None:
        with replica(ECHO) as running:
            answer = running.score(["a", 1.5])
            assert (answer.status, answer.json()) == (200, ["a", 1.5])
            assert answer.headers["x-ms-run-function-failed"] == "False"
            assert answer.headers["server-timing"].startswith("decode;dur=")

    def test_pages(self) -> None:
        with replica(ECHO) as running:
            assert running.get("/").body == b"Healthy"
            assert running.get("/livez").status == 200
            assert running.get("/readyz").status == 200
            assert running.get("/swagger.json").json()["info"]["title"] == "flowers"
            assert running.get("/nothing").status == 404

    def test_an_original_script(self) -> None:
        script = (
            "import json, os\n"
            "def init():\n"
            "    global model\n"
            "    with open(os.path.join(os.getenv('AZUREML_MODEL_DIR'), 'weights.txt')) as f:\n"
            "        model = float(f.read())\n"
            "def run(raw_data):\n"
            "    data = json.loads(raw_data)['data']\n"
            "    return json.dumps([model * x for x in data])\n"
        )
        with replica(script) as running:
            assert running.score({"data": [1, 2]}).json() == "[42.0, 84.0]"

    def test_a_coroutine(self) -> None:
        script = "import asyncio\nasync def run(data: float):\n    await asyncio.sleep(data)\n"
        with replica(script, workers=1) as running:
            began = time.monotonic()
            threads = [threading.Thread(target=running.score, args=[0.5]) for _ in range(10)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert time.monotonic() - began < 4

    def test_failures_are_in_the_log_and_the_status(self) -> None:
        with replica(ECHO) as running:
            answer = running.score(["raise"], **{"x-request-id": "the-id"})
            assert answer.status == 500
            assert "secret" not in answer.body.decode()
            failure = running.wait_for(lambda status: status["last_failure"])["last_failure"]
            assert failure["code"] == "sample_failed"
            assert failure["evidence"][-1] == "ValueError: secret"
            assert running.status["phase"] == "ready"
            assert "the-id: `run()` raised\nrequest the-id: Traceback" in running.log.read_text()

    def test_prints_reach_the_log_at_once(self) -> None:
        with replica(ECHO) as running:
            running.score(["print", "this"])
            assert "said this\n" in running.log.read_text()
            assert "cried this\n" in running.log.read_text()

    def test_a_body_beyond_the_limit(self) -> None:
        with replica(ECHO, max_body=1000) as running:
            assert running.score(["x" * 1000]).status == 413

    def test_health_is_answered_while_a_model_computes(self) -> None:
        with replica(ECHO, workers=1) as running, Wire(running.socket) as wire:
            wire.send(request("POST", "/score", b'["sleep", 1]'))
            assert running.get("/livez").status == 200
            assert running.get("/readyz").status == 200
            assert wire.answer().json() == ["sleep", 1]


class TestWorkers:
    def test_init_is_called_once_for_all(self) -> None:
        with replica(ECHO, workers=3) as running:
            assert running.log.read_text().count("init by") == 1
            assert len(running.workers) == 3
            assert running.process.pid == running.status["pid"]
            assert running.process.pid not in running.workers

    def test_all_of_them_score(self) -> None:
        with replica(ECHO) as running:
            seen: set[int] = set()
            deadline = time.monotonic() + PATIENCE
            while len(seen) < 2 and time.monotonic() < deadline:
                seen.add(running.score(["pid"]).json())
            assert seen == set(running.workers)

    def test_init_is_called_in_each_where_a_fork_would_lose_threads(self) -> None:
        with replica(THREADED) as running:
            assert running.log.read_text().count("init by") == 2
            pid, threads = running.score([]).json()
            assert pid in running.workers
            assert threads == 3
            assert running.get("/readyz").status == 200

    def test_one_that_dies_is_replaced(self) -> None:
        for script in (ECHO, THREADED):
            with replica(script) as running:
                victim = running.workers[0]
                os.kill(victim, signal.SIGKILL)
                status = running.wait_for(
                    lambda status, victim=victim: (
                        len(status["workers"]) == 2 and victim not in status["workers"]
                    )
                )
                assert status["phase"] == "ready"
                assert status["worker_restarts"] == 1
                assert running.score(["after"]).status == 200
                assert f"worker {victim} was ended by SIGKILL" in running.log.read_text()


class TestTimeout:
    def test_a_late_score_is_answered_and_its_worker_replaced(self) -> None:
        with replica(ECHO, scoring_timeout=0.5, workers=1) as running:
            (before,) = running.workers
            with Wire(running.socket) as first, Wire(running.socket) as second:
                first.send(request("POST", "/score", b'["sleep", 100]', {"x-request-id": "A"}))
                time.sleep(0.1)
                second.send(request("POST", "/score", b'["sleep", 0]'))
                answer = first.answer()
                assert answer.status == 504
                assert answer.message == "The request was not scored within 0.5 s."
                assert answer.headers["x-request-id"] == "A"
                assert second.answer().status in (200, 504)
            running.wait_for(lambda status: status["workers"] not in ([], [before]))
            assert running.score(["after"]).status == 200
            assert running.status["worker_restarts"] == 1
            running.wait_for(lambda _: "did not end in time" in running.log.read_text())

    def test_a_successor_serves_while_a_stuck_worker_still_answers(self) -> None:
        script = (
            "import asyncio, os, time\n"
            "async def run(data: list):\n"
            "    if data[0] == 'block': time.sleep(100)\n"
            "    await asyncio.sleep(data[1])\n"
            "    return os.getpid()\n"
        )
        with replica(script, scoring_timeout=1.0, workers=1) as running:
            (before,) = running.workers
            with Wire(running.socket) as blocking, Wire(running.socket) as late:
                blocking.send(request("POST", "/score", b'["block", 0]'))
                assert blocking.answer().status == 504
                late.send(request("POST", "/livez"))
                assert late.answer().status == 405
            running.wait_for(lambda status: status["workers"] not in ([], [before]))
            assert running.score(["pid", 0]).json() == running.workers[0]


class TestDrain:
    def test_ends_with_status_0(self) -> None:
        for script in (ECHO, THREADED):
            with replica(script) as running:
                workers = running.workers
                running.process.terminate()
                assert running.process.wait(PATIENCE) == 0
                assert running.status["phase"] == "draining"
                assert not any(is_alive(pid) for pid in workers)

    def test_finishes_what_is_in_flight(self) -> None:
        with replica(ECHO) as running, Wire(running.socket) as wire:
            wire.send(request("POST", "/score", b'["sleep", 1]'))
            time.sleep(0.2)
            running.process.terminate()
            assert wire.answer().json() == ["sleep", 1]
            assert running.process.wait(PATIENCE) == 0

    def test_is_cut_at_its_deadline(self) -> None:
        with replica(ECHO, drain_timeout=0.5) as running, Wire(running.socket) as wire:
            wire.send(request("POST", "/score", b'["sleep", 100]'))
            time.sleep(0.2)
            running.process.terminate()
            assert running.process.wait(PATIENCE) == 0
            assert wire.rest() == b""

    def test_of_the_whole_process_group(self) -> None:
        with replica(ECHO) as running:
            os.killpg(running.process.pid, signal.SIGTERM)
            assert running.process.wait(PATIENCE) == 0

    def test_during_the_start(self) -> None:
        script = "import time\ndef init(): time.sleep(100)\ndef run(data): ..."
        with replica(script, ready=False) as running:
            running.wait_for(lambda status: status.get("phase") == "initialising")
            running.process.terminate()
            assert running.process.wait(PATIENCE) == 0

    def test_under_load_fails_no_request(self) -> None:
        """A successor on the same socket takes over; clients on fresh and on kept connections."""
        with replica(ECHO) as running:
            clients = [Client(running, keep=number % 2 == 0) for number in range(8)]
            for client in clients:
                client.start()
            for _ in range(3):
                time.sleep(0.3)
                old = running.process
                old.terminate()
                assert old.wait(PATIENCE) == 0
                running.start()
                running.wait_for(lambda status: status["pid"] == running.process.pid)
                running.wait_until_ready()
            for client in clients:
                client.stop()
            assert [client.failure for client in clients] == [None] * 8
            assert sum(client.answered for client in clients) > 20


class Client(threading.Thread):
    """Scores in a loop, one request after the other; remembers the first that failed."""

    def __init__(self, target: Replica, *, keep: bool) -> None:
        super().__init__()
        self._target = target
        self._keep = keep
        self._ending = threading.Event()
        self.answered = 0
        self.failure: str | None = None

    def run(self) -> None:
        try:
            while not self._ending.is_set():
                self._use_a_connection()
        except (OSError, AssertionError) as error:
            self.failure = repr(error)

    def stop(self) -> None:
        self._ending.set()
        self.join(PATIENCE)

    def _use_a_connection(self) -> None:
        """Until the server says that it closes, as HTTP has it."""
        with Wire(self._target.socket) as wire:
            while not self._ending.is_set():
                wire.send(request("POST", "/score", b"[1]", close=not self._keep))
                answer = wire.answer()
                assert answer.status == 200
                self.answered += 1
                if answer.headers.get("connection") == "close":
                    return


class TestFailedStart:
    @pytest.mark.parametrize(
        ("script", "code", "says"),
        [
            ("import no_such_thing", "package_missing", "no_such_thing"),
            ("def run(data:", "import_failed", "SyntaxError"),
            ("1 / 0", "import_failed", "ZeroDivisionError"),
            ("x = 1", "no_run_function", "defines no function `run`"),
            (
                "import os\ndef init(): open(os.environ['AZUREML_MODEL_DIR'] + '/none')\n"
                "def run(data): ...",
                "model_file_missing",
                "`iris/1/none`",
            ),
            ("def init(): 1 / 0\ndef run(data): ...", "init_raised", "score.py, line 1"),
            ("def init(): raise SystemExit(0)\ndef run(data): ...", "init_exited", "status 0"),
        ],
    )
    def test_has_a_cause(self, script: str, code: str, says: str) -> None:
        with replica(script, ready=False) as running:
            assert running.process.wait(PATIENCE) == 3
            status = running.status
            assert status["phase"] == "failed"
            assert status["cause"]["code"] == code
            assert says in status["cause"]["message"]
            assert status["cause"]["fix"]
            assert status["cause"]["message"] in running.log.read_text()

    def test_of_a_worker_has_a_cause(self) -> None:
        script = (
            THREADED.replace("def init():", "def init():\n    open('once', 'x').close()")
            + "\nimport os\nos.chdir(os.environ['AZUREML_MODEL_DIR'])"
        )
        with replica(script, ready=False) as running:
            assert running.process.wait(PATIENCE) == 3
            assert running.status["phase"] == "failed"
            assert running.status["cause"]["code"] == "init_raised"
            assert "FileExistsError" in running.status["cause"]["message"]

    def test_by_a_signal_passes_the_signal_on(self) -> None:
        script = "import os\ndef init(): os.kill(os.getpid(), 9)\ndef run(data): ..."
        with replica(script, ready=False) as running:
            assert running.process.wait(PATIENCE) == -signal.SIGKILL
            assert running.status["phase"] == "initialising"

    def test_by_leaving_passes_the_status_on(self) -> None:
        script = "import os\ndef init(): os._exit(7)\ndef run(data): ..."
        with replica(script, ready=False) as running:
            assert running.process.wait(PATIENCE) == 7

    def test_hanging_shows_the_phase(self) -> None:
        script = "import time\ndef init(): time.sleep(1000)\ndef run(data): ..."
        with replica(script, ready=False) as running:
            running.wait_for(lambda status: status.get("phase") == "initialising")
            assert running.process.poll() is None


class TestCommandLine:
    @pytest.mark.parametrize(
        "arguments", [[], ["--config"], ["--config", "/none.json"], ["--other", "x"]]
    )
    def test_that_is_wrong(self, arguments: list[str]) -> None:
        done = self.run(arguments)
        assert done.returncode == 2
        assert done.stderr

    def test_with_a_descriptor_that_is_not_open(self, tmp_path: Path) -> None:
        config: dict[str, Any] = {
            "fd": 99,
            "workers": 1,
            "code": "/",
            "script": "score.py",
            "models_root": "/",
            "models": [],
            "status": str(tmp_path / "status.json"),
            "service": "s",
            "scoring_timeout": 1,
            "max_body": 1,
            "drain_timeout": 1,
        }
        path = tmp_path / "replica.json"
        path.write_text(json.dumps(config))
        assert self.run(["--config", str(path)]).returncode == 2

    @staticmethod
    def run(arguments: list[str]) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [BASE_PYTHON, "-s", "-S", "-P", "-m", "modelyard_runtime", *arguments],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(PACKAGES)},
            capture_output=True,
            timeout=PATIENCE,
        )
