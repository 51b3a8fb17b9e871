"""One host under test: a home folder, a pretended server, and agents that come and go."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import psutil
from tests.containers.images import make_container_image
from tests.factories import KEY
from tests.integration.agent.fake_server import TOKEN, FakeServer, wait_for
from tests.integration.agent.images import make_image
from tests.unit.agent.making import make_deployment, make_desired, make_service

from modelyard.agent.drivers.base import Replica
from modelyard.agent.drivers.by_target import CONTAINERS, PROCESSES, Drivers
from modelyard.agent.engine.host import Engines
from modelyard.agent.home import AgentHome
from modelyard.agent.shutdown import running_agent, stop_everything
from modelyard.domain.desired import DesiredDeployment, DesiredService
from modelyard.domain.observed import ObservedDeployment, ObservedService
from modelyard.domain.service import ReplicaSettings, ReplicaState
from modelyard.images.signing import TrustedKeys


class Host:
    """Its agents and everything they start end with `close`."""

    def __init__(self, folder: Path, engine: Path | None = None) -> None:
        """With the socket of an engine, what it is asked to run are containers."""
        self.folder = folder
        self.engine = engine
        self.home = AgentHome(folder)
        self.home.create()
        self.home.token.write_text(TOKEN)
        TrustedKeys(self.home.trusted).add(KEY.public)
        self.server = FakeServer()
        self.agents: list[subprocess.Popen[bytes]] = []
        self._generation = 0

    @property
    def arguments(self) -> list[str]:
        """Of an agent's command line, as a server on this host would start it."""
        gateway: tuple[str, ...] = ("--gateway-host", "127.0.0.1", "--gateway-port", "0")
        gateway += ("--gateway-processes", "2")
        # Outside of a sandbox, so that a process has the same id for itself and for the test.
        outside = ("--sandbox", "off")
        engine = ("--engine", str(self.engine)) if self.engine else ()
        return ["--home", str(self.folder), "--url", self.server.url, *gateway, *outside, *engine]

    def start_agent(self, *options: str) -> subprocess.Popen[bytes]:
        """Start an agent and wait until it is at work."""
        with (self.folder / "agent.log").open("ab") as output:
            agent = subprocess.Popen(
                [sys.executable, "-m", "modelyard.agent", *self.arguments, *options],
                stdout=output,
                stderr=output,
            )
        self.agents.append(agent)
        wait_for(lambda: (found := running_agent(self.home)) and found.pid == agent.pid)
        return agent

    def kill_agent(self) -> None:
        self.agents[-1].kill()
        self.agents[-1].wait()

    def deployment(self, name: str, mark: str = "1", **environment: str) -> DesiredDeployment:
        """A deployment of an image that the server has."""
        manifest, blobs = make_container_image(mark) if self.engine else make_image(mark)
        self.server.blobs.update(blobs)
        settings = ReplicaSettings(
            memory=256 << 20,
            startup_timeout=20,
            scoring_timeout=10,
            environment={"DEPLOYMENT": name, **environment},
        )
        target = CONTAINERS if self.engine else PROCESSES
        return make_deployment(name, manifest=manifest, settings=settings, target=target)

    def want(self, *services: DesiredService) -> None:
        self._generation += 1
        self.server.want(make_desired(*services, generation=self._generation))

    def serve(self, *deployments: DesiredDeployment, **changes: Any) -> DesiredService:
        """Want one service and wait until it is there."""
        service = make_service(*deployments, **changes)
        self.want(service)
        self.reached(service)
        return service

    def reached(self, service: DesiredService) -> ObservedService:
        return wait_for(
            lambda: (
                (seen := self.observed(service.name))
                and seen.generation == service.generation
                and all(d.ready for d in seen.deployments)
                and seen
            )
        )

    def observed(self, name: str = "digits") -> ObservedService | None:
        """What was last reported of a service, if that answers what is wanted."""
        latest = self.server.observed[-1:]
        services = [s for o in latest if o.generation == self._generation for s in o.services]
        return next((service for service in services if service.name == name), None)

    def observed_deployment(self, deployment: DesiredDeployment) -> ObservedDeployment | None:
        seen = self.observed()
        return next((d for d in seen.deployments if d.id == deployment.id), None) if seen else None

    def replicas(self) -> tuple[Replica, ...]:
        """As the supervisors see it now."""
        return Drivers(self.home, Engines(str(self.engine))).observe()

    def runtimes(self) -> dict[str, int]:
        """Process ids of the runtimes that answer, by replica."""
        return {
            replica.id: self.ask(replica)["pid"]
            for replica in self.replicas()
            if replica.state is ReplicaState.READY
        }

    def ask(self, replica: Replica, path: str = "/") -> Any:
        transport = httpx2.HTTPTransport(uds=replica.address)
        with httpx2.Client(transport=transport, timeout=10) as client:
            return client.get(f"http://replica{path}").json()

    @property
    def url(self) -> str:
        """Where the gateway listens."""
        url = wait_for(lambda: self.server.observed and self.server.observed[-1].gateway.url)
        return f"{url}/services/digits"

    def score(self, path: str = "/score") -> httpx2.Response:
        return httpx2.get(f"{self.url}{path}", timeout=30)

    def processes(self) -> list[int]:
        """Every process of this host, whoever started it."""
        return [
            process.pid
            for process in psutil.process_iter(["cmdline"])
            if any(str(self.folder) in part for part in process.info["cmdline"] or ())
        ]

    def close(self) -> None:
        for agent in self.agents:
            agent.kill()
            agent.wait()
        stop_everything(self.folder, drain=0.5, engine=self.engine and str(self.engine))
        self.server.close()


@contextmanager
def a_host(folder: Path, engine: Path | None = None) -> Iterator[Host]:
    """A host that leaves no process behind."""
    host = Host(folder, engine)
    try:
        yield host
    finally:
        host.close()
        assert not host.processes(), "processes were left behind"


@contextmanager
def scoring(host: Host) -> Iterator[Counter[object]]:
    """Score all the time; what came back is counted by deployment, or by what went wrong."""
    answers: Counter[object] = Counter()
    ending = threading.Event()

    def score(url: str) -> None:
        with httpx2.Client(timeout=30) as client:
            while not ending.is_set():
                answer = client.post(f"{url}/score", content=b"[1]")  # never sent twice
                good = answer.status_code == 200
                answers[answer.json()["deployment"] if good else answer.text] += 1
                time.sleep(0.002)  # the host has other things to do, too

    threads = [threading.Thread(target=score, args=(host.url,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        ending.set()
        for thread in threads:
            thread.join()
