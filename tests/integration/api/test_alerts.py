"""Alerts from what an agent counts to a message, in a composed server."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient
from tests.factories import AGENT, WORKSPACE, add_image, add_service
from tests.integration.api.told import MINUTES, told
from tests.receivers import Hooks, hooks

from modelyard.app import Parts, compose
from modelyard.control.watching import MOST_AN_HOUR
from modelyard.domain.alert_findings import Finding
from modelyard.domain.alert_rules import Rule
from modelyard.domain.captured import Tally
from modelyard.domain.observed import ObservedState
from modelyard.domain.service import Service, ServiceSettings
from modelyard.errors import InvalidRequest, NotFound
from modelyard.settings import Settings

RULES = ("error_rate>5%", "p99>500ms", "silence>10m", "capture_drops>0")
CHANNELS = "/api/v1/alerts/channels"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"alert_allow_private": "127.0.0.1, hooks.lan"})


@pytest.fixture
def receiver() -> Iterator[Hooks]:
    with hooks() as found:
        yield found


@pytest.fixture
def clock(parts: Parts) -> list[datetime]:
    """The time of whoever looks at services."""
    times = [datetime.now(UTC)]
    parts.watching._clock = lambda: times[0]
    parts.watching._began = times[0] - timedelta(days=1)
    return times


@pytest.fixture
def service(parts: Parts) -> Service:
    with parts.database.write() as tx:
        return add_service(tx, settings=ServiceSettings(alerts=RULES))


@pytest.fixture
def look(parts: Parts, owner: TestClient, clock: list[datetime]) -> Callable[[], dict[str, Any]]:
    """A look at services, and how their alerts stand then, by rule."""

    def look() -> dict[str, Any]:
        parts.watching.look()
        parts.watching.judge()
        return {one["rule"]: one for one in owner.get("/api/v1/alerts").json()}

    return look


def count(agent: TestClient, at: datetime, *deployments: Any) -> None:
    """An agent sends home what it counted in the minute before."""
    begins = at.replace(second=0, microsecond=0) - timedelta(minutes=1)
    minute = {"begins": begins.isoformat(), "deployments": deployments}
    assert agent.post(MINUTES, json=[minute]).status_code == 204


def test_from_a_failure_to_a_message_and_back(
    agent: TestClient,
    owner: TestClient,
    parts: Parts,
    service: Service,
    receiver: Hooks,
    clock: list[datetime],
    look: Callable[[], dict[str, Any]],
) -> None:
    made = owner.post(CHANNELS, json={"name": "ops", "webhook": receiver.url})
    assert made.status_code == 201
    assert made.json()["secret"].startswith("whsec_")
    found = look()
    assert [found[rule]["state"] for rule in RULES] == ["no data"] * 4
    assert found["silence>10m"]["sentence"] == "the service is younger than that"

    count(agent, clock[0], told(service, 90, 10, took=0.7))
    found = look()
    assert [found[rule]["state"] for rule in RULES] == ["firing", "firing", "no data", "no data"]
    assert found["error_rate>5%"]["sentence"].startswith("10.0 % of 100 requests failed")
    look()
    parts.outbox.deliver()
    messages = [json.loads(posted.body) for posted in receiver.got]
    assert [message["rule"] for message in messages] == ["error_rate>5%", "p99>500ms"]
    assert messages[0]["text"] == (
        "digits: 10.0 % of 100 requests failed in the last 5 minutes, more than 5 %; mostly with "
        "status 503 (error_rate>5%)"
    )
    page = owner.get("/metrics").text
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }
    assert samples["modelyard_alert_firing", "digits", "error_rate>5%"] == 1
    assert samples["modelyard_alert_firing", "digits", "silence>10m"] == 0
    assert samples["modelyard_alert_messages_total", "ops", "delivered"] == 2

    clock[0] += timedelta(minutes=7)
    count(agent, clock[0], told(service, 200))
    look()
    clock[0] += timedelta(minutes=6)
    count(agent, clock[0], told(service, 200))
    found = look()
    assert [found[rule]["state"] for rule in RULES[:3]] == ["ok"] * 3
    parts.outbox.deliver()
    over = [json.loads(posted.body) for posted in receiver.got[2:]]
    assert [message["type"] for message in over] == ["alert.resolved"] * 2
    assert over[0]["text"].startswith(
        "digits: error_rate>5% is over: 0.0 % of 200 requests failed in the last 5 minutes (it "
    )

    clock[0] += timedelta(minutes=30)
    found = look()
    assert found["silence>10m"]["state"] == "firing"
    assert "its host has not been heard of" in found["silence>10m"]["sentence"]
    with parts.database.write() as tx:
        tx.agents.observe(AGENT, _observed(parts), clock[0])
    assert look()["silence>10m"]["sentence"] == "no request has come for more than 10 minutes"


def _observed(parts: Parts) -> ObservedState:
    with parts.database.read() as tx:
        known = tx.agents.get(AGENT)
    return ObservedState(agent=AGENT, fence=known.fence, generation=known.generation)


def test_records_that_are_dropped(
    parts: Parts,
    service: Service,
    clock: list[datetime],
    look: Callable[[], dict[str, Any]],
) -> None:
    def dropped(count: int) -> str:
        fields = {"service": service.id, "service_name": "digits", "answered": 500, "captured": 0}
        tally = Tally(id="a" * 16, sampled_out=0, dropped=count, **fields)
        with parts.database.write() as tx:
            tx.captured.count(WORKSPACE, [tally])
        clock[0] += timedelta(minutes=1)
        state: str = look()["capture_drops>0"]["state"]
        return state

    assert [dropped(n) for n in (3, 3, 5)] == ["ok", "ok", "firing"]


def test_a_rule_that_is_taken_back(
    agent: TestClient,
    owner: TestClient,
    parts: Parts,
    service: Service,
    receiver: Hooks,
    clock: list[datetime],
    look: Callable[[], dict[str, Any]],
) -> None:
    owner.post(CHANNELS, json={"name": "ops", "webhook": receiver.url})
    count(agent, clock[0], told(service, 90, 10))
    assert look()["error_rate>5%"]["state"] == "firing"
    body = {"settings": {"alerts": ["silence>1h"]}}
    assert owner.patch("/api/v1/services/digits", json=body).status_code == 202
    assert list(look()) == ["silence>1h"]
    parts.outbox.deliver()
    [over] = [json.loads(posted.body) for posted in receiver.got]  # the older news did not leave
    assert over["type"] == "alert.unwatched"
    assert over["text"].startswith("digits is no longer watched: error_rate>5%, firing since ")
    assert "well" not in over["text"]


def test_a_flood_is_held_back(
    agent: TestClient,
    owner: TestClient,
    parts: Parts,
    receiver: Hooks,
    clock: list[datetime],
    look: Callable[[], dict[str, Any]],
) -> None:
    names = [f"digits-{number}" for number in range(MOST_AN_HOUR + 5)]
    with parts.database.write() as tx:
        image = add_image(tx)
        settings = ServiceSettings(alerts=("error_rate>5%",))
        services = [add_service(tx, name, image, settings=settings) for name in names]
    owner.post(CHANNELS, json={"name": "ops", "webhook": receiver.url})
    count(agent, clock[0], *(told(service, 90, 10) for service in services))
    for _ in range(3):
        look()
        parts.outbox.deliver()
        clock[0] += timedelta(seconds=15)
    assert len(receiver.got) == MOST_AN_HOUR
    clock[0] += timedelta(hours=1)
    count(agent, clock[0], *(told(service, 90, 10) for service in services))
    look()
    parts.outbox.deliver()
    assert {json.loads(posted.body)["service"] for posted in receiver.got} == set(names)
    assert len(receiver.got) == 2 * MOST_AN_HOUR


class Slow:
    """A judge that says what it is told to."""

    def __init__(self) -> None:
        self.finding: Finding | Exception = Finding(True, "two features have drifted", 2.0)
        self.asked: list[tuple[str, str]] = []

    def find(self, service: Service, rule: Rule, now: datetime) -> Finding:
        self.asked.append((service.name, str(rule)))
        if isinstance(self.finding, Exception):
            raise self.finding
        return self.finding


def test_what_has_to_be_worked_out_is_so_one_by_one(
    parts: Parts,
    owner: TestClient,
    receiver: Hooks,
    clock: list[datetime],
    look: Callable[[], dict[str, Any]],
) -> None:
    judge = Slow()
    parts.watching._judges = dict.fromkeys(parts.watching._judges, judge)
    with parts.database.write() as tx:
        add_service(tx, settings=ServiceSettings(alerts=("drift", "accuracy<0.9", "p99>1s")))
    owner.post(CHANNELS, json={"name": "ops", "webhook": receiver.url})
    assert {rule: one["state"] for rule, one in look().items()} == {
        "drift": "firing",
        "p99>1s": "no data",
    }
    judge.finding = ValueError("no")
    for _ in range(3):
        clock[0] += timedelta(minutes=1)
        found = look()
    assert judge.asked == [("digits", "drift"), ("digits", "accuracy<0.9")]
    assert found["accuracy<0.9"]["sentence"].startswith("it cannot be worked out")
    judge.finding = NotFound("there are no captured rows")
    clock[0] += timedelta(minutes=10)
    look()
    found = look()
    assert found["accuracy<0.9"]["sentence"] == "there are no captured rows"
    assert found["drift"]["state"] == "firing"
    parts.outbox.deliver()
    [posted] = receiver.got
    assert json.loads(posted.body)["text"] == "digits: two features have drifted (drift)"


def test_of_a_service_that_captures_nothing(
    parts: Parts, clock: list[datetime], look: Callable[[], dict[str, Any]]
) -> None:
    with parts.database.write() as tx:
        add_service(tx, settings=ServiceSettings(alerts=("drift", "accuracy<0.9")))
    look()
    found = look()
    assert [found[rule]["state"] for rule in ("drift", "accuracy<0.9")] == ["no data"] * 2
    assert "captured" in found["drift"]["sentence"]
    assert "captured" in found["accuracy<0.9"]["sentence"]


class TestChannels:
    def test_secrets_are_shown_once(self, owner: TestClient, parts: Parts) -> None:
        url = "https://hooks.example.org/T0/hidden-part"
        made = owner.post(CHANNELS, json={"name": "ops", "webhook": url}).json()
        again = owner.get(CHANNELS)
        assert made["secret"] not in again.text
        assert "hidden-part" not in again.text
        [listed] = again.json()
        assert listed["address"] == "https://hooks.example.org/…"
        with parts.database.read() as tx:
            assert "whsec" not in str(tx.alerts.route(WORKSPACE, "ops"))
        assert owner.delete(f"{CHANNELS}/ops").status_code == 204
        assert owner.delete(f"{CHANNELS}/ops").status_code == 404

    @pytest.mark.parametrize(
        ("body", "status", "said"),
        [
            ({"name": "ops"}, 400, "either `webhook` or `email`"),
            ({"name": "ops", "webhook": "http://a.example/"}, 400, "begins with `https://`"),
            ({"name": "ops", "webhook": "https://10.0.0.1/"}, 400, "modelyard server stop"),
            ({"name": "ops", "webhook": "https://me:it@a.example/"}, 400, "no user name"),
            ({"name": "ops", "email": "a@example.org"}, 400, "no mail server"),
            ({"name": "ops", "email": "no"}, 400, "email"),
            ({"name": "command", "webhook": "https://a.example/"}, 400, "the server's own"),
            ({"name": "ops", "webhook": "https://a.example/", "command": ["x"]}, 400, "command"),
        ],
    )
    def test_what_is_refused(
        self, owner: TestClient, body: dict[str, Any], status: int, said: str
    ) -> None:
        answer = owner.post(CHANNELS, json=body)
        assert answer.status_code == status
        assert said in answer.text
        assert owner.get(CHANNELS).json() == []

    def test_trying_one(
        self, owner: TestClient, receiver: Hooks, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        owner.post(CHANNELS, json={"name": "ops", "webhook": receiver.url})
        owner.post(CHANNELS, json={"name": "inside", "webhook": "https://localhost/hidden-part"})
        assert owner.post(f"{CHANNELS}/ops/test").json()["delivered"] is True
        assert json.loads(receiver.got[0].body)["type"] == "alert.test"
        refused = owner.post(f"{CHANNELS}/inside/test").json()
        assert refused["delivered"] is False
        assert "not a public one" in refused["error"]
        assert owner.post(f"{CHANNELS}/nobody/test").status_code == 404
        assert "hidden-part" not in caplog.text


def test_the_command_of_the_server(settings: Settings) -> None:
    """It is a channel as long as the settings name it."""
    for command in (("/bin/true", "--secret"), ("/bin/false",), None):
        parts = compose(settings.model_copy(update={"alert_command": command}))
        with parts.database.read() as tx:
            shown = [(one.name, one.address) for one in tx.alerts.channels(WORKSPACE)]
        assert shown == [("command", name) for name in (command or ())[:1]]
        parts.platform.images.close()
        parts.database.close()


def test_settings_of_mail(settings: Settings) -> None:
    for smtp, sender in (("smtps://mail.example.org", None), ("mail.example.org", "a@b.c")):
        wrong = settings.model_copy(update={"alert_smtp": smtp, "alert_smtp_from": sender})
        with pytest.raises(InvalidRequest, match=r"MODELYARD_ALERT_SMTP|needs an address"):
            compose(wrong)
