"""Containers that cannot run: each has a cause of its own, with evidence and a fix."""

from __future__ import annotations

import hashlib
import io
import struct
import tarfile
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from tests.containers.images import Stored, make_container_image
from tests.containers.podman import Podman
from tests.integration.agent.fake_server import wait_for
from tests.unit.agent.making import an_id

from modelyard.agent.drivers.base import Identity, Replica, ReplicaSpec
from modelyard.agent.drivers.container import ContainerDriver, agent_id
from modelyard.agent.engine.host import EngineHost, Engines
from modelyard.agent.engine.problems import EngineProblem
from modelyard.agent.home import AgentHome
from modelyard.agent.provision.engine import EngineImages
from modelyard.agent.provision.fetching import BlobCache
from modelyard.domain.cause import Cause, CauseCode
from modelyard.domain.image import Base, BaseLayer, Manifest, Platform
from modelyard.domain.service import Network, ReplicaSettings
from modelyard.errors import IntegrityError
from modelyard.images.oci.documents import LAYER


class Place:
    """A host with an engine, and what it is asked to run."""

    def __init__(self, home: AgentHome, engines: Engines) -> None:
        self.home = home
        self.driver = ContainerDriver(home, engines)
        self._engines = engines
        self._blobs: dict[str, bytes] = {}
        self.images = EngineImages(
            agent_id(home), engines, BlobCache(home.blobs, Stored(self._blobs))
        )

    def image(self, base: Base | None = None) -> Manifest:
        manifest, blobs = make_container_image()
        self._blobs.update(blobs)
        return manifest if base is None else manifest.model_copy(update={"base": base})

    def base_of(self, files: dict[str, bytes], python: str) -> Base:
        """A base with these files only, all of them executable."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            for path, content in files.items():
                member = tarfile.TarInfo(path)
                member.size, member.mode = len(content), 0o755
                tar.addfile(member, io.BytesIO(content))
        data = buffer.getvalue()
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self._blobs[digest] = data
        layer = BaseLayer(digest=digest, size=len(data), media_type=LAYER, diff_id=digest)
        return Base(origin="image", digest=digest, python=python, layers=(layer,))

    def start(self, manifest: Manifest, network: Network = Network.NONE) -> None:
        identity = Identity("digits-0", an_id("digits"), "digits", an_id("a"), "digits:1")
        settings = ReplicaSettings(memory=256 << 20, network=network)
        self.driver.start(ReplicaSpec(identity, manifest, {}, settings, "container"))

    def when_ready(self) -> Replica:
        return wait_for(lambda: next((r for r in self.driver.observe() if r.ready), None))

    def why(self) -> Cause:
        cause = wait_for(lambda: next((r.cause for r in self.driver.observe() if r.cause), None))
        assert isinstance(cause, Cause)
        assert cause.evidence
        assert cause.fix
        return cause

    def end(self) -> None:
        def ended() -> bool:
            self.driver.stop("digits-0", 0.1)
            return not any(replica.alive for replica in self.driver.observe())

        wait_for(ended)
        self.driver.remove("digits-0")

    def close(self) -> None:
        self.end()
        self.home.sockets().rmdir()


def made(home: Path, engines: Engines) -> Place:
    agent_home = AgentHome(home / "home")
    agent_home.create()
    return Place(agent_home, engines)


@pytest.fixture
def place(home: Path, engines: Engines) -> Iterator[Place]:
    place = made(home, engines)
    yield place
    place.close()


def program_for(machine: int) -> bytes:
    """A program for another processor: the kernel reads no further than its header."""
    ident = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)
    return ident + struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, 0, 64, 0, 0, 64, 56, 0, 64, 0, 0)


def test_program_for_another_processor(place: Place) -> None:
    base = place.base_of({"python": program_for(21)}, "/python")  # PowerPC
    manifest = place.image(base)
    place.images.bring(manifest)
    place.start(manifest)
    cause = place.why()
    assert cause.code is CauseCode.EXEC_FORMAT
    assert "/python" in cause.message


def test_base_without_its_python(place: Place) -> None:
    manifest = place.image(place.base_of({"other": b""}, "/usr/bin/python9"))
    place.images.bring(manifest)
    place.start(manifest)
    cause = place.why()
    assert cause.code is CauseCode.ENTRYPOINT_MISSING
    assert "/usr/bin/python9" in cause.message


def test_container_of_somebody_else_is_left_alone(place: Place, podman: Podman) -> None:
    manifest = place.image()
    place.images.bring(manifest)
    place.start(manifest)
    place.when_ready()
    [ours] = podman.run("ps", "--format", "{{.Names}}").split()
    [image] = podman.run("inspect", "--format", "{{.Image}}", ours).split()
    place.end()
    podman.run("create", "--name", ours, image, "/stranger")
    place.start(manifest)
    cause = place.why()
    assert cause.code is CauseCode.ENGINE_FAILED
    assert ours in cause.message
    place.end()
    assert podman.run("ps", "--all", "--format", "{{.Names}}").split() == [ours]
    podman.run("rm", ours)


def test_image_that_the_engine_does_not_have(place: Place) -> None:
    place.start(place.image())
    assert place.why().code is CauseCode.IMAGE_UNAVAILABLE


def test_engine_that_is_gone_before_the_container_is_made(place: Place, podman: Podman) -> None:
    manifest = place.image()
    place.images.bring(manifest)
    place.start(manifest)
    place.when_ready()
    podman.kill()
    try:
        with pytest.raises(EngineProblem):
            made(place.home.folder.parent, Engines(str(podman.socket))).start(manifest)
    finally:
        podman.start()


@pytest.mark.parametrize("network", Network)
def test_network_is_there_only_when_it_is_allowed(place: Place, network: Network) -> None:
    manifest = place.image()
    place.images.bring(manifest)
    place.start(manifest, network)
    with httpx2.Client(transport=httpx2.HTTPTransport(uds=place.when_ready().address)) as client:
        interfaces = client.get("http://replica/interfaces").json()["interfaces"]
    assert (interfaces == ["lo"]) is (network is Network.NONE)


def test_image_for_another_platform_is_not_brought(place: Place) -> None:
    other = place.image().model_copy(
        update={"platform": Platform(os="linux", architecture="riscv64")}
    )
    cause = place.images.why_unsuitable(other)
    assert cause is not None
    assert cause.code is CauseCode.WRONG_PLATFORM
    assert "riscv64" in cause.message
    assert place.images.why_unsuitable(place.image()) is None


def test_image_without_a_base_is_not_brought(place: Place) -> None:
    cause = place.images.why_unsuitable(place.image().model_copy(update={"base": None}))
    assert cause is not None
    assert cause.code is CauseCode.NO_BASE


def test_layer_that_is_not_what_was_promised_never_reaches_the_engine(place: Place) -> None:
    base = place.base_of({"python": b"true"}, "/python")
    place._blobs[base.digest] = bytes(base.layers[0].size)
    manifest = place.image(base)
    with pytest.raises(IntegrityError):
        place.images.bring(manifest)
    assert list(place.home.blobs.iterdir()) == [
        path for path in place.home.blobs.iterdir() if path.stem in str(manifest)
    ]


class Elsewhere(Engines):
    """An engine in a machine of its own, such as Docker Desktop's, which shares no sockets."""

    def find(self) -> EngineHost:
        return super().find()._replace(shares_sockets=False)


def test_port_is_published_where_no_socket_can_be_shared(home: Path, podman: Podman) -> None:
    place = made(home, Elsewhere(str(podman.socket)))
    manifest = place.image()
    place.images.bring(manifest)
    place.start(manifest)
    try:
        replica = place.when_ready()
        assert replica.address.startswith("127.0.0.1:")
        assert httpx2.get(f"http://{replica.address}/here").json()["path"] == "/here"
    finally:
        place.close()
