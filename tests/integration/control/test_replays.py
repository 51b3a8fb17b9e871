"""Replays on real records and a real database; the candidate is a server in this process."""

from __future__ import annotations

import json
import os
import shutil
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from tests.captured import PRIVATE
from tests.factories import AGENT, WORKSPACE, add_image
from tests.integration.control.yard import OWNER, Yard
from tests.segments import answered, seal, told, write

from modelyard.capture.files import CapturedFiles
from modelyard.control.background import Background
from modelyard.control.captures import Captures
from modelyard.control.replays import Replays
from modelyard.control.reproductions import Reproductions
from modelyard.domain.cause import CauseCode
from modelyard.domain.difference import Kind, Tolerance
from modelyard.domain.operation import Operation, OperationKind, OperationState
from modelyard.domain.quality import Task
from modelyard.domain.replay import Choice, Replay, Unfit
from modelyard.domain.reproduction import Reproduction
from modelyard.domain.search import Search
from modelyard.domain.service import ReplicaSettings
from modelyard.errors import Conflict, InvalidRequest, NotFound, ReplayFailed
from modelyard.images.cancelling import go_on
from modelyard.monitoring.jobs import Replaying
from modelyard.schemas import (
    AcceptedService,
    DeployService,
    ReplayService,
    ReproducePrediction,
    SettingsChange,
    UpdateService,
)
from modelyard.store import Database

NOW = datetime.now(UTC).replace(microsecond=0)
Score = Callable[[Any], tuple[int, Any]]


class Candidate:
    """What an image builder starts: a server whose answers are the test's."""

    def __init__(self) -> None:
        self.score: Score = lambda body: (200, [2 * body[0]])
        self.seen: list[tuple[str, str]] = []
        self.started_with: list[ReplicaSettings] = []
        self.open = threading.Event()
        self.open.set()

    @contextmanager
    def started(
        self, manifest: object, signature: object, replica: ReplicaSettings, purpose: str, log: Any
    ) -> Iterator[Any]:
        self.started_with.append(replica)
        folder = Path(tempfile.mkdtemp(prefix="my-"))
        candidate = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                candidate.seen.append((self.path, self.headers["content-type"]))
                candidate.open.wait(30)
                status, answer = candidate.score(json.loads(body))
                content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                with suppress(BrokenPipeError):  # nobody waits for it any more
                    self.send_response(status)
                    self.send_header("content-length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)

            def address_string(self) -> str:
                return "caller"

            def log_message(self, *_: Any) -> None:
                pass

        class Server(socketserver.ThreadingUnixStreamServer):
            daemon_threads = True

        with Server(str(folder / "s"), Handler) as server:
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
            yield SimpleNamespace(
                trial=SimpleNamespace(socket=folder / "s"), deadline=0.0, until_done=until_done
            )
            server.shutdown()
        shutil.rmtree(folder)


def until_done(future: Future[Any]) -> Any:
    while not future.done():
        time.sleep(0.01)
        go_on()
    return future.result()


class Home(Yard):
    def __init__(self, folder: Path) -> None:
        database = Database(f"sqlite:///{folder / 'yard.db'}")
        database.migrate()
        super().__init__(database)
        self.folder = folder
        self.captures = Captures(
            database, CapturedFiles(folder / "captured"), folder / "answers", PRIVATE
        )
        self.background = Background(database, self.operations)
        self.candidate = Candidate()
        self.replays = Replays(
            *(database, self.background, self.candidate, self.captures, b"m" * 32),
            folder / "answers",
        )
        self.reproductions = Reproductions(database, self.background, self.candidate, self.captures)
        self.image("digits")
        with database.write() as tx:
            self.next = add_image(tx, "iris")
        self.services.deploy(OWNER, DeployService(name="digits", image="digits:1"))

    def capture(self, *records: Any, deployment: str = "d1") -> None:
        """Have these records come home."""
        host = self.folder / f"host{len(os.listdir(self.folder))}"
        host.mkdir()
        path = write(host / "spool", f"{uuid4().hex}-worker-0", *records)
        sealed = seal(host, path, deployment=deployment)
        with self.database.write() as tx:
            tx.agents.ensure(WORKSPACE, AGENT)
            expected = tx.captured.expected(AGENT, 1)
        for sequence, segment in enumerate(sealed, expected):
            with self.captures.receive() as arrival:
                arrival.write((host / "outbox" / f"{segment.name}.parquet").read_bytes())
                self.captures.add(OWNER, AGENT, 1, sequence, segment, arrival)

    def update(self, **wanted: Any) -> AcceptedService:
        return self.changes.update(OWNER, "digits", UpdateService(image="iris:1", **wanted))

    def reproduce(self, prediction: str) -> Reproduction:
        operation = self.ended(self.reproductions.begin(OWNER, prediction, ReproducePrediction()))
        assert operation.state is OperationState.SUCCEEDED, operation.error
        return Reproduction.model_validate(operation.result)

    def begin(self, **wanted: Any) -> Operation:
        return self.replays.begin(OWNER, "digits", ReplayService(image="iris:1", **wanted))

    def ended(self, operation: Operation) -> Operation:
        while True:
            seen = self.operations.changed.count
            found = self.operations.get(OWNER, operation.id)
            if found.state.ended:
                return found
            self.operations.changed.wait(seen, 10)

    def replay(self, **wanted: Any) -> Replay:
        operation = self.ended(self.begin(**wanted))
        assert operation.state is OperationState.SUCCEEDED, operation.error
        return self.replays.get(OWNER, operation.id)


@contextmanager
def opened(folder: Path) -> Iterator[Home]:
    home = Home(folder)
    yield home
    home.candidate.open.set()
    home.background.close()
    home.background._measured.shutdown(wait=True)
    home.database.close()


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with opened(tmp_path) as home:
        yield home


@pytest.fixture(scope="module")
def captured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """Requests of every kind, for those that change nothing."""
    with opened(tmp_path_factory.mktemp("captured")) as home:
        home.capture(
            request(3),
            request(4, status=503, code="replica_lost", output=b"{}", output_size=2),
            request(5, input=None, input_size=3 << 20),
            request(6, input=None, withheld="inputs"),
        )
        home.capture(request(7), deployment="d2")
        yield home


@pytest.fixture
def past(captured: Home) -> Home:
    """The same, asked of nobody yet."""
    captured.candidate.score = Candidate().score
    captured.candidate.seen.clear()
    return captured


def request(number: int, **changes: Any) -> Any:
    """A request that was answered with twice its number, so many minutes ago."""
    body, answer = json.dumps([number]).encode(), json.dumps([2 * number]).encode()
    fields: dict[str, Any] = {
        "at": int((NOW - timedelta(minutes=number)).timestamp() * 1e6),
        "input": body,
        "input_size": len(body),
        "output": answer,
        "output_size": len(answer),
    }
    return answered(f"p{number}", **{**fields, **changes})


class TestReport:
    def test_every_request_is_scored_and_compared(self, home: Home) -> None:
        def score(body: Any) -> tuple[int, Any]:
            answers = {3: (200, [7]), 4: (200, {"answer": 8}), 5: (500, "broken"), 6: (200, [12])}
            return answers.get(body[0], (200, [2 * body[0]]))

        home.candidate.score = score
        home.capture(
            *(request(number) for number in range(1, 6)),
            request(6, status=500, output=b"no", output_size=2),
            request(7, input=None, input_size=5 << 20),
            request(8, input=None, withheld="inputs"),
            request(9, status=503, code="replica_lost", path="/v2/models/iris/infer"),
        )
        found = home.replay().found
        assert (found.requests, found.replayed, found.compared) == (9, 7, 6)
        assert found.left_out == {Unfit.CUT: 1, Unfit.WITHHELD: 1}
        assert found.uncompared == {Unfit.GATEWAY: 1}
        assert (found.equal, found.repaired, found.different) == (2, 1, 3)
        assert [(one.prediction_id, one.difference.kind) for one in found.largest] == [
            ("p5", Kind.STATUS),
            ("p4", Kind.SHAPE),
            ("p3", Kind.VALUES),
        ]
        assert (found.errors, found.images) == (1, {"digits:1": 9})
        assert (found.quality, found.unmeasured) == (None, None)
        assert found.last == NOW - timedelta(minutes=1)
        assert ("/score", "application/json") in home.candidate.seen
        assert ("/v2/models/iris/infer", "application/json") in home.candidate.seen

    def test_the_newest_are_taken_or_always_the_same_at_random(self, home: Home) -> None:
        home.capture(*(request(number) for number in range(1, 60)))
        found = home.replay(requests=10).found
        assert found.requests == 10
        assert found.first == NOW - timedelta(minutes=10)
        once, again = (home.replay(requests=10, choice=Choice.RANDOM).found for _ in range(2))
        assert once.requests == 10
        assert (once.first, once.last) == (again.first, again.last)
        assert once.first != found.first

    def test_the_candidate_gets_the_settings_and_what_is_new_enough(self, home: Home) -> None:
        home.capture(request(1), request(9))
        since = NOW - timedelta(minutes=5)
        change = SettingsChange(environment={"SECRET": "value"}, cpu=2)
        assert home.replay(since=since, settings=change).found.requests == 1
        settings = home.candidate.started_with[0]
        assert (settings.cpu, settings.environment) == (2, {"SECRET": "value"})
        operation = home.operations.search(OWNER, Search()).items[0]
        log = home.operations.log(OWNER, operation.id, 0, 100)
        assert "value" not in f"{operation.result}{log}"

    def test_what_was_never_captured_cannot_be_replayed(self, home: Home) -> None:
        with pytest.raises(NotFound, match="no captured request"):
            home.begin()

    def test_files_that_are_gone_end_it_with_the_reason(self, home: Home) -> None:
        home.capture(request(1))
        for path in (home.folder / "captured").rglob("*.parquet"):
            path.unlink()
        ended = home.ended(home.begin())
        assert ended.state is OperationState.FAILED
        assert "cannot be read" in str(ended.error)
        with pytest.raises(Conflict, match="it is failed"):
            home.replays.get(OWNER, ended.id)


class TestQuality:
    def test_both_are_measured_where_truths_were_told(self, home: Home) -> None:
        """The candidate is a whole number off, but for the one request that it fails."""
        home.candidate.score = lambda body: (500 if body[0] == 5 else 200, [2 * body[0] + 1])
        rules = {"output": None, "withheld": "outputs"}
        home.capture(*(request(number) for number in range(1, 6)), request(6, **rules))
        home.capture(request(7), deployment="d2")
        truths = {f"p{number}": 2 * number + 0.5 for number in (2, 3, 5, 6, 7)}
        later = int(NOW.timestamp() * 1e6)
        home.capture(told("p2", 9000, at=later - 1))
        home.capture(*(told(name, truth, at=later) for name, truth in truths.items()))
        found = home.replay(until=NOW - timedelta(seconds=1)).found
        assert found.requests == 7
        quality = found.quality
        assert quality is not None
        assert quality.task is Task.REGRESSION
        assert (quality.before.labelled, quality.after.labelled) == (3, 3)
        assert (quality.before.figures["bias"], quality.after.figures["bias"]) == (-0.5, 0.5)
        assert list((home.folder / "answers").iterdir()) == []

    def test_answers_are_read_in_every_form_that_rows_are(self, home: Home) -> None:
        """Kinds, the recorded ones in another form than the candidate's; one cannot be read."""
        forms = {
            1: {"label": "a", "probabilities": {"a": 0.9, "b": 0.1}},
            2: {"label": "a", "probabilities": {"a": 0.6, "b": 0.4}},
            3: {"label": ["b"]},
        }
        home.candidate.score = lambda body: (200, {"predictions": [forms[body[0]]]})
        before = {number: {"output": b'["b"]', "output_size": 5} for number in forms}
        home.capture(*(request(number, **changes) for number, changes in before.items()))
        home.capture(*(told(f"p{number}", "ab"[number // 2]) for number in (1, 2)))
        quality = home.replay().found.quality
        assert quality is not None
        assert quality.task is Task.CLASSIFICATION
        assert quality.before.figures["accuracy"] == 0.5
        assert quality.after.figures["accuracy"] == 0.5
        assert quality.after.figures["roc_auc"] == 1.0

    def test_what_cannot_be_measured_says_so(self, home: Home) -> None:
        home.capture(request(1), request(2), told("p1", 2), told("gone", 3))
        home.candidate.score = lambda body: (200, [{"kind": "a", "size": 2}])
        found = home.replay().found
        assert (found.requests, found.quality) == (2, None)
        assert "none of several values is called as answers are: `kind`" in str(found.unmeasured)


class TestEnd:
    def test_it_can_be_cancelled(self, home: Home) -> None:
        home.capture(request(1))
        home.candidate.open.clear()
        operation = home.begin()
        while not home.candidate.seen:
            time.sleep(0.01)
        cancelled = home.background.cancel(OWNER, operation.id)
        assert cancelled.state is OperationState.CANCELLED
        home.candidate.open.set()
        home.background._measured.shutdown(wait=True)
        assert home.ended(operation).state is OperationState.CANCELLED

    def test_a_restart_ends_it_as_failed(self, home: Home) -> None:
        with home.database.write() as tx:
            begun = tx.operations.add(
                WORKSPACE, OperationKind.IMAGE_REPLAY, "image iris:1", "owner"
            )
        home.background.resume()
        error = home.ended(begun).error
        assert error is not None
        assert error["details"]["cause"]["code"] == CauseCode.INTERRUPTED

    def test_the_program_ends_with_whoever_has_begun_it(self, home: Home) -> None:
        home.capture(request(1))
        home.candidate.open.clear()
        with home.candidate.started(None, None, ReplicaSettings(), "", None) as watch:
            job = Replaying(
                files=home.captures.files(OWNER, "digits"),
                aside=home.folder,
                most=10,
                choice=Choice.NEWEST,
                tolerance=Tolerance(),
                socket=watch.trial.socket,
                concurrency=1,
                patience=60,
            )
            command = [sys.executable, "-m", "modelyard.monitoring.replaying"]
            with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
                assert process.stdin is not None
                process.stdin.write(job.model_dump_json().encode() + b"\n")
                process.stdin.flush()
                while not home.candidate.seen:
                    time.sleep(0.01)
                process.stdin.close()
                assert process.wait(30) == 1
            home.candidate.open.set()


class TestReproduce:
    def test_the_image_of_then_is_asked_several_times(self, past: Home) -> None:
        found = past.reproduce("p3")
        assert (found.equal, found.difference, found.other) == (True, None, 0)
        assert (found.image, found.runs, len(past.candidate.seen)) == ("digits:1", 3, 3)
        assert (found.before, found.after) == ("[6]", "[6]")
        assert found.verdict == "digits:1 answers as it did."

    def test_what_differs_is_told_and_that_nothing_explains_it(self, past: Home) -> None:
        past.candidate.score = lambda body: (200, [7])
        found = past.reproduce("p3")
        assert found.equal is False
        assert found.verdict.startswith(
            "digits:1 answers otherwise: another value at `[0]`, 6 before"
        )
        assert "Nothing that is recorded explains it" in found.reasons[-1]

    def test_an_image_that_does_not_agree_with_itself_is_found(self, past: Home) -> None:
        answers = iter([6, 6.5, 6])
        past.candidate.score = lambda body: (200, [next(answers)])
        found = past.reproduce("p3")
        assert (found.equal, found.other) == (True, 1)
        assert "does not agree with itself: 1 of 3" in found.reasons[-1]

    def test_answers_of_the_gateway_are_of_no_model(self, past: Home) -> None:
        found = past.reproduce("p4")
        assert found.equal is None
        assert any("the gateway's own, `replica_lost`" in reason for reason in found.reasons)

    def test_it_gets_the_variables_of_then(self, home: Home) -> None:
        home.capture(request(3, at=int(time.time() * 1e6)))
        home.report()
        home.reconciler.reconcile()
        change = SettingsChange(environment={"MODE": "new"})
        home.changes.update(OWNER, "digits", UpdateService(settings=change))
        found = home.reproduce("p3")
        assert home.candidate.started_with[-1].environment == {}
        assert any("have changed since: MODE;" in reason for reason in found.reasons)

    def test_what_cannot_be_asked_again_is_refused(self, past: Home) -> None:
        for without_input in ("p5", "p6"):
            with pytest.raises(Conflict, match="its input is not recorded"):
                past.reproduce(without_input)
        with pytest.raises(NotFound, match="there is no record of prediction `p8`"):
            past.reproduce("p8")
        with pytest.raises(InvalidRequest, match="is not the id of a prediction"):
            past.reproduce("p8' OR '1' = '1")

    def test_an_image_that_is_gone_is_named(self, past: Home) -> None:
        with pytest.raises(NotFound, match="image `digits:2`, which has answered"):
            past.reproduce("p7")


class TestGate:
    def test_an_update_needs_a_replay_that_has_passed(self, home: Home) -> None:
        home.capture(*(request(number) for number in range(1, 11)))
        home.report()
        home.reconciler.reconcile()
        home.candidate.score = lambda body: (200, [2 * body[0] + (body[0] == 3)])
        strict, lax = home.replay(max_diff="5%"), home.replay(max_diff="10%")
        assert (strict.passed, lax.passed) == (False, True)
        with pytest.raises(ReplayFailed, match=r"1 of 10 requests .* 10 %; 5 % may be") as refused:
            home.update(replay=strict.id)
        assert str(strict.id) in refused.value.hint
        assert refused.value.details == {"replay": str(strict.id)}
        with pytest.raises(ReplayFailed, match="other settings"):
            home.update(replay=lax.id, settings=SettingsChange(environment={"A": "b"}))
        with pytest.raises(NotFound):
            home.update(replay=uuid4())
        assert home.services.get(OWNER, "digits").image == "digits:1"
        assert home.update(replay=lax.id).service.image == "iris:1"
