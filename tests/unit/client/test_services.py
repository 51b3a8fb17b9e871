from __future__ import annotations

import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.unit.client.fake_server import GATEWAY, TOKEN, FakeServer

from modelyard.client import Client
from modelyard.errors import (
    Conflict,
    DeployFailed,
    InvalidRequest,
    NotFound,
    ScoringFailed,
    Unavailable,
)


@pytest.fixture(autouse=True)
def _image(yard: Client, project: Path) -> None:
    yard.models.register("digits", project / "model.pkl")
    yard.images.build("digits", models=["digits"], script=project / "score.py")


@pytest.fixture
def service(yard: Client) -> str:
    return yard.services.deploy("digits", "digits:1").name


class TestDeploy:
    def test_sends_what_was_said(self, yard: Client, server: FakeServer) -> None:
        service = yard.services.deploy(
            "digits",
            yard.images.get("digits"),
            replicas=2,
            memory="2GiB",
            scoring_timeout="30s",
            environment={"A": "b"},
            tags={"team": "x"},
        )
        assert service.settings.memory == 2 << 30
        assert service.settings.scoring_timeout == 30
        body = json.loads(server.asked("POST", "/api/v1/services")[0].content)
        assert set(body["settings"]) == {"replicas", "memory", "scoring_timeout", "environment"}
        assert body["image"] == "digits:1"

    def test_taken_name(self, yard: Client, service: str) -> None:
        with pytest.raises(Conflict):
            yard.services.deploy("digits", "digits:1")

    def test_failure_is_raised_only_when_waited_for(self, yard: Client, server: FakeServer) -> None:
        server.deploy_error = DeployFailed("not ready")
        assert yard.services.deploy("one-off", "digits:1", wait=False).name == "one-off"
        with pytest.raises(DeployFailed):
            yard.services.deploy("digits", "digits:1")

    @pytest.mark.parametrize(
        ("settings", "field"),
        [
            ({"memory": "2Gi"}, "settings.memory"),
            ({"replicas": -1}, "settings.replicas"),
            ({"replicas": 0}, "max_replicas"),
            ({"replicas": 2, "max_replicas": 1}, "max_replicas"),
            ({"cpus": 2}, "settings.cpus"),
            ({"environment": {"LD_PRELOAD": "x"}}, "settings.environment"),
        ],
    )
    def test_wrong_setting_is_named(
        self, yard: Client, settings: dict[str, Any], field: str
    ) -> None:
        with pytest.raises(InvalidRequest, match=field):
            yard.services.deploy("digits", "digits:1", **settings)

    def test_error_never_repeats_a_value(self, yard: Client) -> None:
        with pytest.raises(InvalidRequest) as caught:
            yard.services.deploy("digits", "digits:1", environment="PASSWORD")  # type: ignore[arg-type]
        assert "PASSWORD" not in str(caught.value.to_wire())


class TestUpdate:
    def test_sends_only_what_changes(self, yard: Client, server: FakeServer, service: str) -> None:
        updated = yard.services.update("digits", memory="2GiB")
        assert updated.settings.memory == 2 << 30
        body = json.loads(server.asked("PATCH", "/api/v1/services/digits")[0].content)
        assert body == {"settings": {"memory": 2 << 30}}

    @pytest.mark.parametrize(
        ("given", "sent"),
        [
            ({"canary": "10%"}, {"steps": [10], "step_time": None}),
            ({"canary": 5}, {"steps": [5], "step_time": None}),
            (
                {"canary": ["10%", 50], "step_time": "10m"},
                {"steps": [10, 50], "step_time": 600.0},
            ),
        ],
    )
    def test_a_canary(
        self, yard: Client, server: FakeServer, service: str, given: dict[str, Any], sent: object
    ) -> None:
        yard.services.update("digits", "digits:1", **given)
        body = json.loads(server.asked("PATCH", "/api/v1/services/digits")[0].content)
        assert body["canary"] == sent

    @pytest.mark.parametrize(
        "given", [{"canary": "ten"}, {"canary": []}, {"step_time": "10m"}, {"canary": [10, 50]}]
    )
    def test_a_canary_that_is_none_is_refused_here(
        self, yard: Client, server: FakeServer, service: str, given: dict[str, Any]
    ) -> None:
        with pytest.raises(InvalidRequest, match="canary"):
            yard.services.update("digits", "digits:1", **given)
        assert not server.asked("PATCH", "/api/v1/services/digits")

    def test_a_split(self, yard: Client, server: FakeServer, service: str) -> None:
        yard.services.split("digits", {"digits:1": "100%"})
        body = json.loads(server.asked("POST", "/api/v1/services/digits/split")[0].content)
        assert body == {"shares": {"digits:1": 100}}
        with pytest.raises(InvalidRequest, match="not 90 %"):
            yard.services.split("digits", {"digits:1": 80, "digits:2": 10})

    def test_promote(self, yard: Client, server: FakeServer, service: str) -> None:
        yard.services.promote("digits")
        assert server.asked("POST", "/api/v1/services/digits/promote")

    def test_scale(self, yard: Client, service: str) -> None:
        assert yard.services.scale("digits", 3).settings.replicas == 3

    def test_labels_have_their_own_route(
        self, yard: Client, server: FakeServer, service: str
    ) -> None:
        assert yard.services.add_tags("digits", {"a": "b"}).tags == {"a": "b"}
        assert server.asked("PATCH", "/api/v1/services/digits/labels")


class TestScore:
    def test_answers(self, yard: Client, service: str) -> None:
        assert yard.services.score("digits", [1, 2, 3]) == {"sum": 6}

    def test_gateway_gets_the_key_and_never_the_token(
        self, yard: Client, server: FakeServer, service: str
    ) -> None:
        yard.services.score("digits", [1])
        request = server.asked("POST", "/services/digits/score")[0]
        assert request.headers["authorization"] == "Bearer key-primary"
        assert TOKEN not in str(request.headers.raw)

    def test_asks_for_address_and_key_once(
        self, yard: Client, server: FakeServer, service: str
    ) -> None:
        for _ in range(3):
            yard.services.score("digits", [1])
        assert len(server.asked("GET", "/api/v1/services/digits/keys")) == 1

    def test_finds_a_regenerated_key(self, yard: Client, service: str) -> None:
        yard.services.score("digits", [1])
        yard.services.regenerate_key("digits", "primary")
        assert yard.services.score("digits", [1, 1]) == {"sum": 2}

    def test_sends_no_key_of_a_deleted_service_of_that_name(
        self, yard: Client, server: FakeServer, service: str
    ) -> None:
        yard.services.score("digits", [1])
        yard.services.delete("digits")
        yard.services.deploy("digits", "digits:1")
        yard.services.regenerate_key("digits", "primary")
        assert yard.services.score("digits", [1, 1]) == {"sum": 2}
        assert len(server.asked("POST", "/services/digits/score")) == 2

    def test_status_of_the_script_is_not_asked_for_twice(
        self, yard: Client, server: FakeServer, service: str
    ) -> None:
        yard.services.score("digits", [1])
        server.answer = lambda data: httpx2.Response(404, json={"message": "no such customer"})
        with pytest.raises(ScoringFailed, match="answered 404: no such customer") as caught:
            yard.services.score("digits", [1])
        assert caught.value.details == {"status": 404}
        assert len(server.asked("POST", "/services/digits/score")) == 2

    @pytest.mark.parametrize(
        ("status", "hint"), [(422, "/services/digits/swagger.json"), (500, "service logs digits")]
    )
    def test_hints_at_the_log_for_failures_of_the_service_alone(
        self, yard: Client, server: FakeServer, service: str, status: int, hint: str
    ) -> None:
        server.answer = lambda data: httpx2.Response(status, json={"message": "no"})
        with pytest.raises(ScoringFailed) as caught:
            yard.services.score("digits", [1])
        assert hint in (caught.value.hint or "")
        assert ("logs" in (caught.value.hint or "")) == (status >= 500)

    @pytest.mark.parametrize(
        ("response", "expected"),
        [
            (httpx2.Response(200, json={"a": 1}), {"a": 1}),
            (httpx2.Response(200, text="class a"), "class a"),
            (httpx2.Response(200, content=b"\x89PNG"), b"\x89PNG"),
        ],
    )
    def test_answers_of_every_kind(
        self,
        yard: Client,
        server: FakeServer,
        service: str,
        response: httpx2.Response,
        expected: Any,
    ) -> None:
        server.answer = lambda data: response
        assert yard.services.score("digits", [1]) == expected

    def test_without_key(self, yard: Client, server: FakeServer) -> None:
        yard.services.deploy("open-one", "digits:1", auth="none")
        with pytest.raises(ScoringFailed):  # the gateway of these tests always wants one
            yard.services.score("open-one", [1])
        request = server.asked("POST", "/services/open-one/score")[0]
        assert "authorization" not in request.headers

    def test_no_address_yet(self, yard: Client, server: FakeServer, service: str) -> None:
        server.services["digits"]["scoring_uri"] = None
        with pytest.raises(Unavailable, match="no address yet"):
            yard.services.score("digits", [1])

    def test_nothing_listens(self, yard: Client, server: FakeServer, service: str) -> None:
        yard.services.score("digits", [1])
        server.failures = [httpx2.ConnectError("refused")]
        with pytest.raises(Unavailable, match=f"does not answer at {GATEWAY}"):
            yard.services.score("digits", [1])


class TestOneService:
    def test_why(self, yard: Client, server: FakeServer, service: str) -> None:
        assert yard.services.why("digits") is None
        server.cause = {"code": "init_raised", "message": "init() raised", "fix": "mend it"}
        cause = yard.services.why("digits")
        assert cause is not None
        assert (cause.code, cause.fix) == ("init_raised", "mend it")

    def test_logs(self, yard: Client, server: FakeServer, service: str) -> None:
        assert [line.text for line in yard.services.logs("digits", tail=1)] == ["starting"]
        assert [line.sequence for line in yard.services.logs("digits", replica="r1")] == [1, 2]
        assert server.requests[-1].url.params["replica"] == "r1"

    def test_followed_logs_go_on(self, yard: Client, server: FakeServer, service: str) -> None:
        followed = yard.services.logs("digits", follow=True)
        assert [line.sequence for line in islice(followed, 2)] == [1, 2]
        server.log.append(server._line(3, "scored"))
        assert next(followed).text == "scored"

    def test_keys(self, yard: Client, service: str) -> None:
        before = yard.services.keys("digits")
        after = yard.services.regenerate_key("digits", "secondary")
        assert before.primary == after.primary
        assert before.secondary != after.secondary
        with pytest.raises(InvalidRequest, match="no key `tertiary`"):
            yard.services.regenerate_key("digits", "tertiary")

    def test_delete(self, yard: Client, service: str) -> None:
        assert yard.services.delete("digits").state == "Succeeded"
        with pytest.raises(NotFound):
            yard.services.get("digits")

    def test_find(self, yard: Client, server: FakeServer, service: str) -> None:
        assert [found.name for found in yard.services.search(model="digits:1")] == ["digits"]
        assert server.requests[-1].url.params["model"] == "digits:1"

    @pytest.mark.parametrize("name", ["..", "a/b", "Digits", "digits\n", "x"])
    def test_name_that_is_none_is_refused(self, yard: Client, name: str) -> None:
        asked: list[Callable[[], object]] = [
            lambda: yard.services.get(name),
            lambda: yard.services.drift(name),
            lambda: yard.services.set_baseline(name, __file__),
            lambda: yard.replays.run(name, "digits:1"),
            lambda: yard.captures.verify(name),
            lambda: yard.captures.forget(name, "id", 7),
        ]
        for ask in asked:
            with pytest.raises(InvalidRequest, match="not the name of a service"):
                ask()
