"""The figures of a host while replicas come, go, begin anew, and minutes pass."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.agent.making import an_id, make_deployment, make_desired, make_replica, make_service

from modelyard.agent.drivers.base import Replica
from modelyard.agent.gateway.counters import open_counters
from modelyard.agent.telemetry import collector as module
from modelyard.agent.telemetry.collector import Collector, Source
from modelyard.agent.telemetry.page import Page
from modelyard.domain.figures import total
from modelyard.domain.telemetry import DeploymentFigures
from modelyard_runtime.capture.tallies import Tally
from modelyard_runtime.http.server import Headers, Request, Response
from modelyard_runtime.metrics import Metrics
from modelyard_runtime.slots import Slots

REQUESTS = "modelyard_requests_total"
START = 1_000_000 * 60.0


class Host:
    """Replicas that really write figures, and the clock."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = START
        self.replicas: dict[str, Replica] = {}
        self.deployments = [make_deployment("a")]
        self.restart_agent()

    def restart_agent(self) -> None:
        self.collector = Collector(
            self.folder / "figures.json", self.folder / "counters", lambda: self.now
        )

    def score(self, number: int, times: int, deployment: str = "a") -> None:
        """A replica runs, or runs again, and answers."""
        replica = make_replica(number, deployment)
        self.replicas[replica.id] = replica
        (self.folder / replica.id).mkdir(exist_ok=True)
        metrics = Metrics(Slots(1, str(self.folder / replica.id / "figures")), 0)
        for _ in range(times):
            metrics.answered("score", 200, 0.02)
        metrics.gauges = lambda: (2, 1)
        metrics.publish()

    def lose_file(self, number: int) -> None:
        (self.folder / make_replica(number).id / "figures").unlink()

    def remove(self, number: int) -> None:
        replica = make_replica(number).id
        self.collector.leave(replica)
        self.lose_file(number)
        del self.replicas[replica]

    def look(self) -> dict[str, DeploymentFigures]:
        desired = make_desired(make_service(*self.deployments))
        sources = [Source(r, self.folder / r.id / "figures") for r in self.replicas.values()]
        self.collector.follow(desired, sources)
        found = {one.image: one for one in self.collector.look().deployments}
        own = found.pop("")
        assert (own.deployment, own.service) == (None, an_id("digits"))
        return found

    def answered(self, image: str = "a:1") -> float:
        return total(self.look()[image].figures, REQUESTS)

    def minutes(self) -> list[tuple[float, float]]:
        """Beginnings of the minutes that wait, in minutes since the start, and their requests."""
        return [
            (
                (minute.begins.timestamp() - START) / 60,
                sum(total(d.figures, REQUESTS) for d in minute.deployments),
            )
            for minute in self.collector.waiting
        ]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_replicas_are_added_up(host: Host) -> None:
    host.score(0, 3)
    host.score(1, 4)
    found = host.look()["a:1"]
    assert total(found.figures, REQUESTS) == 7
    assert found.figures["modelyard_requests_in_flight"] == {"": [4]}
    assert found.figures["modelyard_replicas"] == {"": [2]}
    assert found.figures["modelyard_replicas_ready"] == {"": [2]}
    assert (found.service, found.service_name) == (an_id("digits"), "digits")


@pytest.mark.parametrize("agent", ["lives on", "is restarted"])
def test_nothing_is_lost_while_replicas_come_and_go(host: Host, agent: str) -> None:
    def go_on() -> None:
        if agent == "is restarted":
            host.restart_agent()

    host.score(0, 3)
    host.score(1, 4)
    host.look()
    host.score(0, 5)  # started again, with its file
    assert host.answered() == 12
    host.remove(1)
    go_on()
    assert host.answered() == 12
    host.score(1, 1)  # another one with the same name
    go_on()
    assert host.answered() == 13
    assert host.answered() == 13


def test_what_began_anew_without_its_file_goes_on_from_the_last_look(host: Host) -> None:
    host.score(0, 3)
    assert host.answered() == 3
    host.lose_file(0)
    assert host.answered() == 3
    host.score(0, 2)
    assert host.answered() == 5


def test_a_removal_that_takes_several_attempts_counts_once(host: Host) -> None:
    host.score(0, 3)
    host.look()
    host.collector.leave(make_replica(0).id)
    host.look()
    host.remove(0)
    assert host.answered() == 3


def test_a_service_that_sleeps_keeps_its_figures(host: Host) -> None:
    host.score(0, 3)
    host.look()
    host.remove(0)
    host.now += 3600
    assert host.answered() == 3
    assert host.look()["a:1"].figures["modelyard_replicas"] == {"": [0]}


def test_a_minute_has_what_was_counted_in_it(host: Host) -> None:
    host.look()
    host.score(0, 3)
    host.look()
    host.now += 60
    host.score(0, 4)
    host.look()  # the minute before ends with this look
    host.now += 60
    host.look()
    assert host.minutes() == [(0, 7), (1, 0)]
    first = host.collector.waiting[0].deployments[1].figures
    assert first["modelyard_requests_in_flight"] == {"": [2]}
    assert first["modelyard_replicas"] == {"": [1]}


def test_what_an_agent_missed_is_in_the_next_minute(host: Host) -> None:
    host.look()
    host.score(0, 3)
    host.now += 60
    host.look()
    host.score(0, 5)
    host.now += 3600
    host.restart_agent()
    assert host.minutes() == [(0, 3)]
    host.look()
    assert host.minutes() == [(0, 3), (60, 5)]


def test_an_agent_that_was_just_started_forgets_nothing(host: Host) -> None:
    host.look()
    host.score(0, 3)
    host.look()
    host.remove(0)
    host.now += 120
    host.restart_agent()
    host.collector.look()  # before the loop has had its first turn
    assert host.answered() == 3
    assert host.minutes() == [(1, 3)]


def test_a_deployment_that_ended_is_in_its_last_minute_and_forgotten_then(host: Host) -> None:
    host.score(0, 3)
    host.look()
    host.remove(0)
    host.deployments = [make_deployment("b")]
    host.now += 60
    host.look()
    assert {d.image for d in host.collector.waiting[0].deployments} == {"", "a:1", "b:1"}
    host.now += 60
    host.look()
    assert {d.image for d in host.collector.waiting[1].deployments} == {"", "b:1"}
    assert "a:1" not in host.look()


def test_what_the_gateway_counted_is_told_by_deployment(host: Host) -> None:
    counters = open_counters(host.folder / "counters" / "0")
    host.score(0, 1)
    series, own = counters.of("digits", str(an_id("a"))), counters.of("digits")
    for status, seconds in ((200, 0.02), (502, 0.3)):
        series.answered(status, seconds)
    own.refused(401)
    own.left_queue(0.3)
    counters.of("other").refused(401)
    found = host.look()["a:1"].figures
    assert found["modelyard_gateway_requests_total"] == {'status="200"': [1], 'status="502"': [1]}
    assert total(found, "modelyard_gateway_request_duration_seconds") == 2
    service = next(one for one in host.collector.look().deployments if one.deployment is None)
    assert service.figures["modelyard_gateway_requests_total"] == {'status="401"': [1]}
    assert total(service.figures, "modelyard_gateway_queue_wait_seconds") == 1
    assert ask(host, "/services/digits/metrics").body.count(b'digits",status="401"} 1') == 1


def test_what_has_arrived_is_sent_no_more(host: Host) -> None:
    host.look()
    for _ in range(3):
        host.now += 60
        host.look()
    host.collector.sent(host.collector.waiting[:2])
    host.restart_agent()
    assert [begins for begins, _ in host.minutes()] == [2]


def test_the_oldest_minutes_go_when_nobody_takes_them(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 3)
    host.look()
    for _ in range(5):
        host.now += 60
        host.look()
    assert [begins for begins, _ in host.minutes()] == [2, 3, 4]
    own = host.collector.look().agent
    assert own["modelyard_agent_rollups_lost_total"] == {"": [2]}
    assert own["modelyard_agent_rollups_waiting"] == {"": [3]}


def test_a_damaged_document_begins_anew(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    host.score(0, 3)
    (host.folder / "figures.json").write_text("{")
    host.restart_agent()
    assert host.answered() == 3
    assert "counting begins anew" in caplog.text


def test_a_file_that_is_none_is_left_out(host: Host) -> None:
    host.score(0, 3)
    host.lose_file(0)
    (host.folder / make_replica(0).id / "figures").symlink_to("/dev/zero")
    assert host.answered() == 0


def ask(host: Host, path: str, method: str = "GET") -> Response:
    return Page(host.collector)(Request(method, path, "", Headers([]), b""))


@pytest.fixture
def text(host: Host) -> Callable[[str], str]:
    host.score(0, 3)
    host.look()

    def read(path: str) -> str:
        response = ask(host, path)
        assert response.status == 200
        assert isinstance(response.body, bytes)
        return response.body.decode()

    return read


def test_the_page_of_a_service_says_whose_figures_they_are(text: Callable[[str], str]) -> None:
    labels = f'service="digits",deployment="{an_id("a")}",image="a",version="1"'
    line = f'{REQUESTS}{{{labels},protocol="score",status="200"}} 3'
    assert line in text("/services/digits/metrics")
    assert line in text("/metrics")
    assert "modelyard_agent_cpu_seconds_total" in text("/metrics")
    assert "modelyard_agent" not in text("/services/digits/metrics")
    assert REQUESTS not in text("/services/other/metrics")


def test_other_pages_are_refused(host: Host) -> None:
    assert ask(host, "/services/digits/score").status == 404
    assert ask(host, "/services/../metrics").status == 404
    assert ask(host, "/metrics", "POST").status == 405


def test_truths_are_counted_by_service(tmp_path: Path) -> None:
    host = Host(tmp_path)
    service = make_service(*host.deployments)
    host.collector.follow(make_desired(service), [])
    assert host.collector.look().agent["modelyard_agent_feedback_truths_total"] == {}
    for writer, counts in (("gateway-0", (3, 0)), ("gateway-1", (4, 2))):
        folder = tmp_path / "captured" / str(service.id) / "feedback"
        folder.mkdir(parents=True, exist_ok=True)
        Tally(folder / f"{writer}.tally").add(captured=counts[0], dropped=counts[1])
    labels = f'service="{service.name}",outcome='
    assert host.collector.look().agent["modelyard_agent_feedback_truths_total"] == {
        f'{labels}"stored"': [7],
        f'{labels}"refused"': [2],
    }
