"""What every replica driver does; each implementation gets a fixture below."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import psutil
import pytest
from tests.containers.images import Stored, make_container_image
from tests.integration.agent.fake_server import wait_for
from tests.integration.agent.images import make_image, unpack
from tests.programs import unavailable
from tests.unit.agent.making import an_id

from modelyard.agent.drivers.base import Identity, Replica, ReplicaDriver, ReplicaSpec
from modelyard.agent.drivers.container import ContainerDriver, agent_id
from modelyard.agent.drivers.process import ProcessDriver
from modelyard.agent.home import AgentHome
from modelyard.agent.provision.engine import EngineImages
from modelyard.agent.provision.fetching import BlobCache
from modelyard.agent.supervisor.log import log_file, log_files
from modelyard.domain.cause import CauseCode
from modelyard.domain.image import LayerKind, Manifest
from modelyard.domain.service import ReplicaSettings, ReplicaState
from modelyard.images.layers import LayerCache
from modelyard.images.sandbox import bubblewrap
from modelyard.images.sandbox.cell import Sandbox, SandboxKind
from modelyard.images.sandbox.choosing import host_sandbox
from modelyard.images.sandbox.confine import landlock_version
from modelyard.settings import SandboxMode

SERVICE, DEPLOYMENT = an_id("digits"), an_id("a")


class Place:
    """A host with one kind of driver."""

    def __init__(
        self,
        make: Callable[[], ReplicaDriver],
        manifest: Manifest,
        layers: Mapping[LayerKind, Path],
    ) -> None:
        self.make = make
        """A driver without memory, as a new agent has it."""
        self.driver = make()
        self._manifest = manifest
        self._layers = layers

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
        leaving = False

        def ended() -> Replica | None:
            nonlocal leaving
            seen = self.see(replica)
            if seen is not None and seen.alive and not seen.draining:
                assert not leaving, "what was on its way out has come back"
                self.driver.stop(replica, drain)
            leaving = seen is not None and seen.draining
            return seen if seen is not None and not seen.alive else None

        return wait_for(ended)


def processes(request: pytest.FixtureRequest, home: AgentHome) -> Place:
    manifest, blobs = make_image()
    layers = unpack(manifest, blobs, LayerCache(home.layers))
    return Place(lambda: ProcessDriver(home), manifest, layers)


def processes_in_bubblewrap(request: pytest.FixtureRequest, home: AgentHome) -> Place:
    sandbox = host_sandbox(SandboxMode.AUTO)
    assert sandbox.kind is SandboxKind.BUBBLEWRAP, sandbox.missing
    return in_sandbox(sandbox, processes(request, home), home)


def processes_in_landlock(request: pytest.FixtureRequest, home: AgentHome) -> Place:
    if not landlock_version():
        unavailable("this kernel has no Landlock")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bubblewrap, "program", lambda: None)
        sandbox = host_sandbox.__wrapped__(SandboxMode.AUTO)
    assert sandbox.kind is SandboxKind.LANDLOCK, sandbox.missing
    return in_sandbox(sandbox, processes(request, home), home)


def in_sandbox(sandbox: Sandbox, place: Place, home: AgentHome) -> Place:
    place.make = lambda: ProcessDriver(home, sandbox)
    place.driver = place.make()
    return place


def containers(request: pytest.FixtureRequest, home: AgentHome) -> Place:
    engines = request.getfixturevalue("engines")
    manifest, blobs = make_container_image()
    images = EngineImages(agent_id(home), engines, BlobCache(home.blobs, Stored(blobs)))
    layers = images.bring(manifest)
    return Place(lambda: ContainerDriver(home, engines), manifest, layers)


@pytest.fixture(params=[processes, processes_in_bubblewrap, processes_in_landlock, containers])
def place(request: pytest.FixtureRequest, home: Path) -> Iterator[Place]:
    agent_home = AgentHome(home / "home")
    agent_home.create()
    place = request.param(request, agent_home)
    yield place
    for replica in place.driver.observe():
        if replica.alive:
            place.stop(replica.id, drain=0.2)
        place.driver.remove(replica.id)
    agent_home.sockets().rmdir()


def ask(replica: Replica, path: str = "/") -> Any:
    transport = httpx2.HTTPTransport(uds=replica.address)
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
    life = ask(replica)["life"]
    place.make().start(place.spec())
    assert ask(replica)["life"] == life
    assert place.see().restarts == 0


def test_new_driver_adopts_with_identity(place: Place) -> None:
    life = ask(place.start())["life"]
    [adopted] = place.make().observe()
    assert adopted.identity == place.spec().identity
    assert adopted.ready
    assert ask(adopted)["life"] == life


def test_stopped_replica_ends_and_is_remembered(place: Place) -> None:
    place.start()
    ended = place.stop()
    assert ended.state is ReplicaState.FAILED
    assert ended.memory == 0
    assert not Path(ended.address).exists()
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
    life = ask(replica)["life"]
    with pytest.raises(httpx2.TransportError):
        ask(replica, "/exit?9")
    again = place.when(lambda r: r.ready and r.restarts == 1)
    assert again.address == replica.address
    assert ask(again)["life"] != life
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
    mark = f"child-{uuid4()}"
    ask(place.start(), f"/spawn?{mark}")
    wait_for(lambda: processes_with(mark))
    place.stop()
    wait_for(lambda: not processes_with(mark))


def processes_with(mark: str) -> list[int]:
    """Processes of this host whose command line has the mark, also those in containers."""
    found = psutil.process_iter(["cmdline"])
    return [process.pid for process in found if mark in (process.info["cmdline"] or ())]
