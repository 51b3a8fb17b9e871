from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from tests.unit.cli.conftest import Run
from tests.unit.client.fake_server import GATEWAY, FakeServer

from modelyard.client.certificates import make_key
from modelyard.errors import DeployFailed

CAUSE = {"code": "init_raised", "message": "init() raised", "evidence": ["E1"], "fix": "mend it"}


@pytest.fixture(autouse=True)
def _image(run: Run, project: Path) -> None:
    run("model", "register", "digits", "model.pkl")
    run("image", "build", "digits", "--model", "digits", "--script", "score.py")


@pytest.fixture
def service(run: Run) -> None:
    run("service", "deploy", "digits", "--image", "digits:1")


class TestDeploy:
    def test_shows_the_service(self, run: Run) -> None:
        shown = run("service", "deploy", "digits", "--image", "digits", "--replicas", "2").stdout
        assert f"{GATEWAY}/services/digits/score" in shown
        assert "digits:1" in shown

    def test_sends_settings(self, run_json: Callable[..., Any]) -> None:
        words = ["--cpu", "2", "--memory", "2GiB", "--scoring-timeout", "5s", "--env", "A=b=c"]
        words += ["--startup-timeout", "1m", "--max-concurrent-requests", "4"]
        words += ["--max-queue-wait", "1s", "--auth", "none", "--tag", "a=b"]
        words += ["--cors-origin", "https://app.example", "--network", "outbound"]
        words += ["--client", "dns:billing.example", "--client", "uri:spiffe://example/*"]
        words += ["--sticky", "X-User-Id", "--unjudged"]
        words += ["--replicas", "0", "--max-replicas", "3", "--idle-time", "5m"]
        words += ["--capture", "10%", "--capture-space", "1MiB", "--capture-when-full", "refuse"]
        words += ["--alert", "error_rate>5%", "--alert", "p99 > 0.5s over 15m"]
        words += ["--capture-durable", "--capture-drop", "name", "--capture-hash", "customer.id"]
        words += ["--capture-encrypt", "customer.email"]
        found = run_json("service", "deploy", "digits", "--image", "digits", *words)
        assert found["settings"] == {
            "cpu": 2.0,
            "memory": 2 << 30,
            "scoring_timeout": 5.0,
            "startup_timeout": 60.0,
            "environment": {"A": "b=c"},
            "network": "outbound",
            "replicas": 0,
            "max_replicas": 3,
            "idle_time": 300.0,
            "max_concurrent_requests": 4,
            "max_queue_wait": 1.0,
            "auth": "none",
            "cors_origins": ["https://app.example"],
            "sticky": "x-user-id",
            "judged": False,
            "clients": ["dns:billing.example", "uri:spiffe://example/*"],
            "capture": 10,
            "capture_space": 1 << 20,
            "capture_when_full": "refuse",
            "capture_durable": True,
            "capture_drop": ["name"],
            "capture_hash": ["customer.id"],
            "capture_encrypt": ["customer.email"],
            "alerts": ["error_rate>5%", "p99>500ms over 15m"],
        }
        assert found["tags"] == {"a": "b"}

    def test_wrong_setting(self, run: Run) -> None:
        words = ("service", "deploy", "digits", "--image", "digits", "--memory", "2Gi")
        assert "settings.memory" in run(*words, code=1).stderr

    def test_failure(self, run: Run, server: FakeServer) -> None:
        server.deploy_error = DeployFailed("not ready", details={"cause": CAUSE})
        shown = run("service", "deploy", "digits", "--image", "digits", code=1).stderr
        assert "error: not ready\n  E1\n" in shown


@pytest.mark.usefixtures("service")
class TestOne:
    def test_update(self, run_json: Callable[..., Any]) -> None:
        found = run_json("service", "update", "digits", "--replicas", "3", "--memory", "2GiB")
        assert (found["settings"]["replicas"], found["settings"]["memory"]) == (3, 2 << 30)

    def test_an_empty_text_is_none_of_them(self, run: Run, server: FakeServer) -> None:
        run("service", "update", "digits", "--env", "", "--client", "", "--cors-origin", "")
        body = json.loads(server.asked("PATCH", "/api/v1/services/digits")[0].content)
        assert body["settings"] == {"environment": {}, "clients": [], "cors_origins": []}

    def test_a_variable_needs_a_value(self, run: Run) -> None:
        answer = run("service", "update", "digits", "--env", "MODE", code=2)
        assert "write `MODE=value`" in answer.stderr

    def test_update_needs_something(self, run: Run) -> None:
        assert "nothing to do" in run("service", "update", "digits", code=2).stderr

    def test_canary(self, run: Run, server: FakeServer) -> None:
        words = ("--image", "digits:1", "--canary", "10%,50%", "--step-time", "10m")
        run("service", "update", "digits", *words)
        body = json.loads(server.asked("PATCH", "/api/v1/services/digits")[0].content)
        assert body["canary"] == {"steps": [10, 50], "step_time": 600.0}
        run("service", "promote", "digits")
        run("service", "rollback", "digits")

    def test_split(self, run: Run, server: FakeServer) -> None:
        run("service", "split", "digits", "digits:1=100%")
        body = json.loads(server.asked("POST", "/api/v1/services/digits/split")[0].content)
        assert body == {"shares": {"digits:1": 100}}
        shown = run("service", "split", "digits", "digits:1", code=1).stderr
        assert "digits:1" in shown

    def test_a_rollout_is_told(self, run: Run, server: FakeServer) -> None:
        service = server.services["digits"]
        deployment = {
            "image": "digits:1",
            "digest": f"sha256:{0:064x}",
            "settings": {},
            "created_at": service["created_at"],
        }
        candidate = str(uuid4())
        service["deployments"] = [
            {**deployment, "id": str(uuid4()), "weight": 90, "generation": 1},
            {**deployment, "id": candidate, "image": "digits:2", "weight": 10, "generation": 2},
        ]
        canary = {"steps": [10], "step_time": None}
        since = "2026-11-27T12:00:00Z"
        service |= {
            "image": "digits:2",
            "rollout": {
                "candidate": candidate,
                "generation": 2,
                "canary": canary,
                "since": since,
            },
        }
        shown = run("service", "show", "digits").stdout
        assert re.search(r"traffic +digits:1 90 %, digits:2 10 %\n", shown)
        assert "digits:2 gets 10 % since 2026-11-27 12:00:00 UTC" in shown

    def test_scale(self, run_json: Callable[..., Any], run: Run) -> None:
        assert run_json("service", "scale", "digits", "4")["settings"]["replicas"] == 4
        run("service", "scale", "digits", "-1", code=2)

    def test_list(self, run: Run, server: FakeServer) -> None:
        assert run("service", "list", "--model", "digits:1").stdout.splitlines()[1].split()[:5] == [
            "digits",
            "Healthy",
            "digits:1",
            "digits:1",
            "0/1",
        ]
        assert server.requests[-1].url.params["model"] == "digits:1"

    def test_show(self, run: Run, server: FakeServer) -> None:
        replica = {
            "id": "r1",
            "deployment": server.services["digits"]["id"],
            "image": "digits:1",
            "state": "Starting",
        }
        server.services["digits"]["status"] = {
            "state": "Transitioning",
            "replicas": [replica],
            "cause": CAUSE,
        }
        server.services["digits"]["settings"]["environment"] = {"A": "b"}
        shown = run("service", "show", "digits").stdout
        assert "replica r1" in shown
        assert "A=b" in shown
        assert re.search(r"scoring timeout +60 s\n", shown)
        assert re.search(r"capture +off\ncapture space +1.0 GiB\n", shown)
        assert re.search(r"judged +yes\n", shown)
        assert "cors" not in shown
        assert "init() raised" in shown

    def test_logs_of_one_request(
        self, run: Run, run_json: Callable[..., Any], server: FakeServer
    ) -> None:
        server.log.append({**server.log[-1], "sequence": 3, "request": "a-1", "text": "hello"})
        shown = run("service", "logs", "digits", "--request", "a-1").stdout
        assert shown.endswith("request a-1: hello\n")
        nothing = run("service", "logs", "digits", "--request", "a-2")
        assert nothing.stdout == ""
        assert "nothing that digits printed is of a request a-2" in nothing.stderr
        assert shown.count("\n") == 1
        assert run("service", "logs", "digits").stdout.count("\n") == 3

    def test_logs(self, run: Run) -> None:
        shown = run("service", "logs", "digits", "--tail", "1").stdout
        assert shown == "2026-03-01 12:00:00  build  starting\n"

    def test_log_lines_cannot_steer_the_terminal(self, run: Run, server: FakeServer) -> None:
        server.log = [server._line(1, "\x1b]0;owned\x07\r")]
        assert run("service", "logs", "digits").stdout.endswith("  \\x1b]0;owned\\x07\\r\n")

    def test_tag(self, run: Run) -> None:
        assert run("service", "tag", "digits", "a=b").stdout == "tags  a=b\n"

    def test_delete(self, run: Run, run_json: Callable[..., Any]) -> None:
        assert "say --yes" in run("service", "delete", "digits", code=2).stderr
        assert run_json("service", "delete", "digits", "--yes") == {"deleted": "digits"}
        run("service", "show", "digits", code=1)


@pytest.mark.usefixtures("service")
class TestScore:
    def test_json(self, run: Run, project: Path) -> None:
        (project / "data.json").write_text("[4]")
        assert json.loads(run("service", "score", "digits", "[1, 2]").stdout) == {"sum": 3}
        assert json.loads(run("service", "score", "digits", "@data.json").stdout) == {"sum": 4}
        assert json.loads(run("service", "score", "digits", "-", stdin="[5]").stdout) == {"sum": 5}

    def test_the_prediction_is_named_beside_the_answer(self, run: Run, server: FakeServer) -> None:
        headers = {"x-prediction-id": "15f3"}
        server.answer = lambda data: httpx2.Response(200, json=[1], headers=headers)
        for form in ("table", "json"):
            scored = run("service", "score", "digits", "[1]", "-o", form)
            assert json.loads(scored.stdout) == [1]
            assert scored.stderr == "prediction 15f3\n"

    def test_raw(self, run: Run, server: FakeServer) -> None:
        run("service", "score", "digits", "[7]", "--raw")
        request = server.asked("POST", "/services/digits/score")[0]
        assert request.headers["content-type"] == "application/octet-stream"

    @pytest.mark.parametrize(
        ("response", "plain", "as_json"),
        [
            (httpx2.Response(200, text="class\x1ba"), b"class\\x1ba\n", "class\x1ba"),
            (httpx2.Response(200, content=b"\x89PNG"), b"\x89PNG", {"base64": "iVBORw=="}),
            (httpx2.Response(200, json=[1]), b"[\n  1\n]\n", [1]),
        ],
    )
    def test_answers_of_every_kind(
        self, run: Run, server: FakeServer, response: httpx2.Response, plain: bytes, as_json: Any
    ) -> None:
        server.answer = lambda data: response
        assert run("service", "score", "digits", "[1]").stdout_bytes == plain
        assert json.loads(run("service", "score", "digits", "[1]", "-o", "json").stdout) == as_json

    def test_error(self, run: Run, server: FakeServer) -> None:
        server.answer = lambda data: httpx2.Response(502, json={"message": "ValueError: no"})
        assert (
            "answered 502: ValueError: no" in run("service", "score", "digits", "1", code=1).stderr
        )


@pytest.mark.usefixtures("service")
class TestKeys:
    def test_show(self, run: Run, run_json: Callable[..., Any]) -> None:
        assert run("service", "keys", "show", "digits").stdout == (
            "primary    key-primary\nsecondary  key-secondary\n"
        )
        assert run_json("service", "keys", "show", "digits")["primary"] == "key-primary"

    def test_regenerate(self, run: Run, run_json: Callable[..., Any]) -> None:
        found = run_json("service", "keys", "regenerate", "digits", "primary", "--yes")
        assert found["primary"] != "key-primary"
        run("service", "keys", "regenerate", "digits", "tertiary", "--yes", code=2)
        assert "--yes" in run("service", "keys", "regenerate", "digits", "primary", code=2).stderr


@pytest.mark.usefixtures("service")
@pytest.mark.parametrize("words", [("why",), ("service", "why")])
class TestWhy:
    def test_ready(self, run: Run, run_json: Callable[..., Any], words: tuple[str, ...]) -> None:
        assert run(*words, "digits").stdout == "digits is ready: nothing is wrong\n"
        assert run_json(*words, "digits") is None

    def test_not_ready(
        self, run: Run, run_json: Callable[..., Any], server: FakeServer, words: tuple[str, ...]
    ) -> None:
        server.cause = CAUSE
        server.services["digits"]["status"]["state"] = "Unhealthy"
        assert run(*words, "digits", code=1).stdout == (
            "init() raised (init_raised)\n  E1\nfix: mend it\n"
        )
        assert run_json(*words, "digits", code=1)["evidence"] == ["E1"]

    def test_ready_with_something_to_say(
        self, run: Run, server: FakeServer, words: tuple[str, ...]
    ) -> None:
        server.cause = {**CAUSE, "code": "key_refused", "message": "refused 12 requests"}
        assert "refused 12 requests (key_refused)" in run(*words, "digits").stdout

    def test_on_its_way_out(self, run: Run, server: FakeServer, words: tuple[str, ...]) -> None:
        server.services["digits"]["status"]["state"] = "Deleting"
        assert run(*words, "digits", code=1).stdout == "digits is being deleted\n"


@pytest.mark.usefixtures("service")
def test_the_history_fits_a_terminal(
    run: Run, run_json: Callable[..., Any], server: FakeServer
) -> None:
    reason = "`digits:2` is worse than `digits:1`: 12 of 40 requests failed against 0 of 360."
    made = {"settings": {"memory": "2GiB"}, "at": "2026-03-01T12:00:00Z", "by": "owner"}
    server.history = [
        {**made, "generation": 2, "image": "digits:2", "outcome": "Failed", "reason": reason}
        | {"rollout": "canary 10 %, 50 %"},
        {**made, "generation": 1, "image": "digits:1", "outcome": "Served", "settings": {}},
    ]
    title, new, *notes, old = run("service", "history", "digits").stdout.splitlines()
    assert title.split() == ["GENERATION", "AT", "(UTC)", "OUTCOME", "BY", "IMAGE"]
    assert new.split() == ["2", "2026-03-01", "12:00:00", "Failed", "owner", "digits:2"]
    assert len(new) < 80
    assert old.split()[0] == "1"
    assert [note.strip() for note in notes] == [
        "canary 10 %, 50 %",
        "memory 1.0 GiB -> 2.0 GiB",
        reason,
    ]
    assert run_json("service", "history", "digits")[0]["reason"] == reason


class TestOperations:
    def test_list_show_log(self, run: Run, run_json: Callable[..., Any]) -> None:
        (found,) = run_json("operation", "list")
        assert found["kind"] == "image.build"
        assert found["id"] in run("operation", "list").stdout
        assert "Succeeded" in run("operation", "show", found["id"]).stdout
        assert run_json("operation", "show", found["id"]) == found
        assert "resolving" in run("operation", "log", found["id"], "--follow").stdout

    def test_show_failed(self, run: Run, server: FakeServer) -> None:
        error = DeployFailed("not ready", hint="look")
        operation = server._operation("service.deploy", "service digits", error)
        shown = run("operation", "show", operation["id"]).stdout
        assert "not ready" in shown
        assert "look" in shown

    def test_wrong_id(self, run: Run) -> None:
        assert "not the id of an operation" in run("operation", "show", "x", code=1).stderr


@pytest.mark.usefixtures("service")
class TestCertificates:
    def test_the_key_is_made_here_and_stays_here(self, run: Run, project: Path) -> None:
        result = run("service", "certificates", "issue", "digits", "billing")
        assert result.stdout.strip() == "billing.pem"
        file = project / "billing.pem"
        assert file.stat().st_mode & 0o777 == 0o600
        text = file.read_text()
        assert text.startswith("-----BEGIN PRIVATE KEY-----")
        assert text.endswith("-----BEGIN CERTIFICATE-----\n")

    def test_a_request_is_sent_as_it_is_and_no_key_with_it(self, run: Run, project: Path) -> None:
        made = make_key()
        (project / "own.csr").write_text(made.request)
        (project / "own.key").write_text(made.key + made.request)
        words = ("service", "certificates", "issue", "digits", "billing", "--request")
        run(*words, "own.csr", "--file", "given.pem")
        assert "PRIVATE" not in (project / "given.pem").read_text()
        assert "is not sent" in run(*words, "own.key", code=1).stderr
        assert not (project / "billing.pem").exists()

    def test_no_file_is_written_over(self, run: Run, project: Path) -> None:
        (project / "billing.pem").write_text("of somebody")
        refused = run("service", "certificates", "issue", "digits", "billing", code=1)
        assert "there is a file `billing.pem`" in refused.stderr
        assert (project / "billing.pem").read_text() == "of somebody"

    def test_nothing_is_left_of_a_refusal(self, run: Run, project: Path) -> None:
        run("service", "certificates", "issue", "nobody", "billing", code=1)
        run("service", "certificates", "issue", "digits", "Not A Name", code=1)
        assert not list(project.glob("*.pem"))

    def test_they_are_listed_and_revoked(self, run: Run, run_json: Callable[..., Any]) -> None:
        for client in ("one", "two"):
            run_json("service", "certificates", "issue", "digits", client)
        revoked = run_json("service", "certificates", "revoke", "digits", "two", "-y")
        assert [one["client"] for one in revoked] == ["two"]
        found = run_json("service", "certificates", "list", "digits")
        assert [one["revoked_at"] is None for one in found] == [True, False]
        assert "REVOKED" in run("service", "certificates", "list", "digits").stdout
        run("service", "certificates", "revoke", "digits", "three", "-y", code=1)

    def test_a_certificate_that_is_none_is_refused(self, run: Run, project: Path) -> None:
        (project / "wrong.pem").write_text("nothing")
        for name in ("wrong.pem", "missing.pem"):
            refused = run("service", "score", "digits", "1", "--certificate", name, code=1)
            assert f"`{name}` cannot be used" in refused.stderr
