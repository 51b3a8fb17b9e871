"""What every replica driver does; each implementation gets a fixture below."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.integration.agent.fake_server import wait_for
from tests.integration.agent.images import make_image, unpack
from tests.unit.agent.making import an_id

from modelyard.agent.drivers.base import Identity, Replica, ReplicaDriver, ReplicaSpec
from modelyard.agent.drivers.process import ProcessDriver
from modelyard.agent.home import AgentHome
from modelyard.agent.supervisor.log import log_file, log_files
from modelyard.domain.cause import CauseCode
from modelyard.domain.service import ReplicaSettings, ReplicaState
from modelyard.images.layers import LayerCache

SERVICE, DEPLOYMENT = an_id("digits"), an_id("a")


class Place:
    """A host with one kind of driver."""

    def __init__(self, make: Callable[[], ReplicaDriver], cache: LayerCache) -> None:
        self.make = make
        """A driver without memory, as a new agent has it."""
        self.driver = make()
        self._manifest, blobs = make_image()
        self._layers = unpack(self._manifest, blobs, cache)

    def spec(self, replica: str = "digits-0", **environment: str) -> ReplicaSpec:
        settings = ReplicaSettings(
            memory=256 << 20, startup_timeout=20, scoring_timeout=5, environment=environment
        )
        identity = Identity(replica, SERVICE, "digits", DEPLOYMENT, "digits:1")
        return ReplicaSpec(identity, self._manifest, self._layers, settings)

    def start(self, replica: str = "digits-0", **environment: str) -> Replica:
        self.driver.start(self.spec(replica, **environment))
        return self.when(lambda r: r.ready, replica)

    def see(self, replica: str = "digits-0") -> Replica | None:
        return next((r for r in self.driver.observe() if r.id == replica), None)

    def when(self, condition: Callable[[Replica], bool], replica: str = "digits-0") -> Replica:
        return wait_for(lambda: (r := self.see(replica)) and condition(r) and r)

    def stop(self, replica: str = "digits-0", drain: float = 5) -> Replica:
        def ended() -> Replica | None:
            seen = self.see(replica)
            if seen is not None and seen.alive and not seen.draining:
                self.driver.stop(replica, drain)
            return seen if seen is not None and not seen.alive else None

        return wait_for(ended)


@pytest.fixture(params=["process"])
def place(request: pytest.FixtureRequest, home: Path) -> Iterator[Place]:
    agent_home = AgentHome(home / "home")
    agent_home.create()
    place = Place(lambda: ProcessDriver(agent_home), LayerCache(agent_home.layers))
    yield place
    for replica in place.driver.observe():
        if replica.alive:
            place.stop(replica.id, drain=0.2)
        place.driver.remove(replica.id)
    agent_home.sockets().rmdir()


def ask(replica: Replica, path: str = "/") -> Any:
    transport = httpx2.HTTPTransport(uds=str(replica.socket))
    with httpx2.Client(transport=transport, timeout=20) as client:
        return client.get(f"http://replica{path}").json()


@contextmanager
def asking(place: Place, replica: Replica, path: str) -> Iterator[Future[Any]]:
    """A request that the replica is working on."""
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(ask, replica, path)
        wait_for(lambda: f"asked {path}" in log_text(place))
        yield answer


def log_text(place: Place, replica: str = "digits-0") -> str:
    folder = place.driver.log(replica)
    return "".join(log_file(folder, number).read_text() for number in log_files(folder))


def test_nothing_runs_at_first(place: Place) -> None:
    assert place.driver.observe() == ()


def test_started_replica_gets_ready_and_answers(place: Place) -> None:
    replica = place.start(DEPLOYMENT="x")
    assert ask(replica)["deployment"] == "x"
    assert (replica.restarts, replica.failures, replica.cause) == (0, 0, None)
    assert replica.started_at is not None
    assert place.when(lambda r: r.memory > 1 << 20).memory < 256 << 20


def test_replica_is_seen_from_the_moment_it_is_started(place: Place) -> None:
    place.driver.start(place.spec())
    seen = place.see()
    assert seen is not None
    assert (seen.alive, seen.state) == (True, ReplicaState.STARTING)


def test_starting_twice_starts_once(place: Place) -> None:
    place.driver.start(place.spec())
    place.driver.start(place.spec())
    replica = place.when(lambda r: r.ready)
    pid = ask(replica)["pid"]
    place.make().start(place.spec())
    assert ask(replica)["pid"] == pid
    assert place.see().restarts == 0


def test_new_driver_adopts_with_identity(place: Place) -> None:
    pid = ask(place.start())["pid"]
    [adopted] = place.make().observe()
    assert adopted.identity == place.spec().identity
    assert adopted.ready
    assert ask(adopted)["pid"] == pid


def test_stopped_replica_ends_and_is_remembered(place: Place) -> None:
    place.start()
    ended = place.stop()
    assert ended.state is ReplicaState.FAILED
    assert ended.memory == 0
    assert not ended.socket.exists()
    assert ended.identity.deployment == DEPLOYMENT


def test_stopping_what_is_gone_is_no_error(place: Place) -> None:
    place.driver.stop("never-was")
    place.start()
    place.stop()
    place.driver.stop("digits-0")


def test_requests_in_flight_are_answered_before_the_end(place: Place) -> None:
    with asking(place, place.start(), "/sleep?0.5") as answer:
        place.driver.stop("digits-0", 10)
        place.when(lambda r: not r.alive)
        assert answer.result()["path"] == "/sleep?0.5"


def test_drain_time_is_a_limit(place: Place) -> None:
    with asking(place, place.start(), "/sleep?60") as answer:
        place.driver.stop("digits-0", 0.2)
        place.when(lambda r: not r.alive)
        with pytest.raises(httpx2.TransportError):
            answer.result()


def test_revived_replica_runs_as_before(place: Place) -> None:
    place.start(DEPLOYMENT="x")
    place.stop()
    place.make().revive("digits-0")
    assert ask(place.when(lambda r: r.ready))["deployment"] == "x"


def test_reviving_what_never_was_does_nothing(place: Place) -> None:
    place.driver.revive("never-was")
    assert place.driver.observe() == ()


def test_restarted_replica_takes_the_new_specification(place: Place) -> None:
    place.start(DEPLOYMENT="x")
    place.stop()
    assert ask(place.start(DEPLOYMENT="y"))["deployment"] == "y"
    assert "starting digits" in log_text(place)


def test_living_replica_is_not_removed(place: Place) -> None:
    replica = place.start()
    place.driver.remove("digits-0")
    assert ask(replica)


def test_removed_replica_leaves_nothing(place: Place) -> None:
    place.start()
    place.stop()
    place.driver.remove("digits-0")
    place.driver.remove("digits-0")
    assert place.driver.observe() == ()
    assert not place.driver.log("digits-0").exists()


def test_replicas_do_not_touch_each_other(place: Place) -> None:
    place.start("digits-0")
    other = place.start("digits-1")
    place.stop("digits-0")
    assert ask(other)
    assert [r.alive for r in place.driver.observe()] == [False, True]


def test_environment_holds_nothing_of_the_agent(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANARY", "of-the-agent")
    replica = place.start(OWN="1")
    environment = ask(replica, "/environment")["environment"]
    assert "CANARY" not in environment
    assert environment["OWN"] == "1"


@pytest.mark.parametrize(
    ("misbehave", "code"),
    [
        ("raise", CauseCode.INIT_RAISED),
        ("exit", CauseCode.EXITED),
        ("eat", CauseCode.OUT_OF_MEMORY),
    ],
)
def test_failed_start_has_its_cause(place: Place, misbehave: str, code: CauseCode) -> None:
    place.driver.start(place.spec(MISBEHAVE=misbehave))
    failed = place.when(lambda r: r.failures > 0)
    assert failed.cause is not None
    assert failed.cause.code is code
    assert failed.cause.evidence
    assert failed.cause.fix


def test_ended_runtime_is_started_again_behind_the_same_socket(place: Place) -> None:
    replica = place.start()
    pid = ask(replica)["pid"]
    with pytest.raises(httpx2.TransportError):
        ask(replica, "/exit?9")
    again = place.when(lambda r: r.ready and r.restarts == 1)
    assert again.socket == replica.socket
    assert ask(again)["pid"] != pid
    assert again.cause is not None
    assert again.cause.code is CauseCode.EXITED


def test_flood_of_output_is_bounded_and_the_replica_answers(place: Place) -> None:
    replica = place.start()
    ask(replica, "/print?600000")
    assert ask(replica)
    folder = place.driver.log("digits-0")
    wait_for(lambda: "line 599999\n" in log_text(place))
    assert len(log_files(folder)) <= 2
    assert sum(file.stat().st_size for file in folder.iterdir()) < 20 << 20


def test_processes_of_the_runtime_end_with_it(place: Place) -> None:
    replica = place.start()
    child = ask(replica, "/spawn")["child"]
    place.stop()
    wait_for(lambda: not Path(f"/proc/{child}").exists())
