from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from tests.factories import KEY
from tests.unit.agent.making import make_deployment, make_manifest

from modelyard.agent.engine.problems import EngineForbidden, EngineProblem, NoEngine
from modelyard.agent.provision.images import ImageProvider, LayerFetcher
from modelyard.domain.cause import Cause, CauseCode
from modelyard.domain.desired import DesiredDeployment
from modelyard.domain.image import Layer, LayerKind, Manifest, Platform
from modelyard.errors import IntegrityError, NotFound, ServerUnreachable, Unavailable
from modelyard.images.layers import LayerCache, file_from_bytes, tar_chunks
from modelyard.images.signing import SigningKey, TrustedKeys


def make_blob(content: bytes) -> tuple[Layer, bytes]:
    data = b"".join(tar_chunks([file_from_bytes("opt/modelyard/models/model", content)]))
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    return Layer(kind=LayerKind.MODEL, digest=digest, size=len(data)), data


class Blobs:
    """Blobs that come in pieces and break off as told."""

    def __init__(self, *blobs: tuple[Layer, bytes]) -> None:
        self.content = {layer.digest: data for layer, data in blobs}
        self.asked: list[int] = []
        self.break_after: int | None = None
        self.error: Exception | None = None

    def blob(self, digest: str, start: int) -> Iterator[bytes]:
        self.asked.append(start)
        if self.error is not None:
            raise self.error
        if digest not in self.content:
            raise NotFound(f"blob {digest} not found")
        rest = self.content[digest][start:]
        yield rest[: self.break_after]
        if self.break_after is not None and len(rest) > self.break_after:
            raise ServerUnreachable("the connection broke")


class Host:
    """A provider whose threads can be waited for, and whose clock stands still."""

    def __init__(
        self, folder: Path, *blobs: tuple[Layer, bytes], refusal: Cause | None = None
    ) -> None:
        self.partial = folder / "fetched"
        self.partial.mkdir()
        self.blobs = Blobs(*blobs)
        self.fetcher = LayerFetcher(
            LayerCache(folder / "layers"), self.partial, self.blobs, refusal
        )
        self.elsewhere = Elsewhere()
        self.now = 0.0
        self.woken = threading.Event()
        self.trusted = TrustedKeys(folder / "trusted")
        self.trusted.add(KEY.public)
        self.provider = ImageProvider(
            {"local": self.fetcher, "container": self.elsewhere},
            self.trusted,
            self.woken.set,
            lambda: self.now,
        )

    def provide(self, deployment: DesiredDeployment) -> Cause | None:
        """Try once; the problem that is left."""
        self.woken.clear()
        self.provider.ensure(deployment)
        assert self.woken.wait(20)
        return self.provider.problems().get(deployment.id)


LAYER = make_blob(b"weights" * 1000)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path, LAYER)


def deployment_of(*layers: Layer) -> DesiredDeployment:
    return make_deployment(manifest=make_manifest(layers))


def test_image_is_fetched_and_unpacked_once(host: Host) -> None:
    deployment = deployment_of(LAYER[0])
    assert host.provide(deployment) is None
    assert host.provider.ready() == {deployment.id}
    folder = host.provider.layers(deployment)[LayerKind.MODEL]
    assert (folder / "opt/modelyard/models/model").read_bytes() == b"weights" * 1000
    host.fetcher.folder(LAYER[0])
    assert host.blobs.asked == [0]
    assert not list(host.partial.iterdir())


def test_broken_connection_is_taken_up_where_it_broke(host: Host) -> None:
    host.blobs.break_after = 4000
    assert host.provide(deployment_of(LAYER[0])) is None
    assert host.blobs.asked == [0, 4000, 8000]


def test_a_blob_that_ends_too_early_is_not_asked_for_for_ever(host: Host) -> None:
    host.blobs.content[LAYER[0].digest] = LAYER[1][:4000]
    problem = host.provide(deployment_of(LAYER[0]))
    assert problem is not None
    assert "only 4000 of" in problem.message
    assert host.blobs.asked == [0, 4000]


def test_what_arrived_is_kept_for_the_next_attempt(host: Host) -> None:
    layer, data = LAYER
    (host.partial / f"{layer.digest[7:]}.partial").write_bytes(data[:100])
    host.fetcher.folder(layer)
    assert host.blobs.asked == [100]


def test_complete_fetch_is_not_asked_for_again(host: Host) -> None:
    layer, data = LAYER
    (host.partial / f"{layer.digest[7:]}.partial").write_bytes(data)
    host.fetcher.folder(layer)
    assert host.blobs.asked == []


@pytest.mark.parametrize("spoil", [lambda data: data[:-1] + b"x", lambda data: data + b"more"])
def test_changed_bytes_are_refused_and_fetched_anew(host: Host, spoil: object) -> None:
    layer, data = LAYER
    assert callable(spoil)
    host.blobs.content[layer.digest] = spoil(data)
    with pytest.raises(IntegrityError):
        host.fetcher.folder(layer)
    host.blobs.content[layer.digest] = data
    host.fetcher.folder(layer)
    assert host.blobs.asked == [0, 0]


def test_missing_blob_is_a_problem_at_once(host: Host) -> None:
    layer, _ = make_blob(b"other")
    problem = host.provide(deployment_of(layer))
    assert problem is not None
    assert problem.code is CauseCode.IMAGE_UNAVAILABLE
    assert layer.digest in problem.message


def test_wrong_platform_is_a_problem_and_fetches_nothing(host: Host) -> None:
    manifest = make_manifest([LAYER[0]], platform=Platform(os="plan9", architecture="amd64"))
    problem = host.provide(make_deployment(manifest=manifest))
    assert problem is not None
    assert problem.code is CauseCode.WRONG_PLATFORM
    assert host.blobs.asked == []


def test_host_that_may_start_nothing_fetches_nothing(tmp_path: Path) -> None:
    refusal = Cause(code=CauseCode.NO_SANDBOX, message="This host has no sandbox.")
    host = Host(tmp_path, LAYER, refusal=refusal)
    assert host.provide(deployment_of(LAYER[0])) == refusal
    assert host.blobs.asked == []


class Elsewhere:
    """Images of another target."""

    def __init__(self) -> None:
        self.brought: list[Manifest] = []
        self.problem: EngineProblem | None = None

    def why_unsuitable(self, manifest: Manifest) -> Cause | None:
        if self.problem is not None:
            raise self.problem
        return None

    def bring(self, manifest: Manifest) -> Mapping[LayerKind, Path]:
        self.brought.append(manifest)
        return {}


def test_target_decides_where_an_image_goes(host: Host) -> None:
    deployment = deployment_of(LAYER[0]).model_copy(update={"target": "container"})
    assert host.provide(deployment) is None
    assert host.elsewhere.brought == [deployment.manifest]
    assert host.provider.layers(deployment) == {}
    assert host.blobs.asked == []


def test_engine_that_may_not_be_used_is_a_problem_at_once(host: Host) -> None:
    host.elsewhere.problem = EngineForbidden("not yours", hint="join the group")
    problem = host.provide(deployment_of(LAYER[0]).model_copy(update={"target": "container"}))
    assert problem is not None
    assert problem.code is CauseCode.ENGINE_FORBIDDEN
    assert problem.fix == "join the group"


def test_engine_that_is_being_restarted_is_no_problem_for_a_while(host: Host) -> None:
    host.elsewhere.problem = NoEngine("gone")
    deployment = deployment_of(LAYER[0]).model_copy(update={"target": "container"})
    problems = []
    for _ in range(4):
        problems.append(host.provide(deployment))
        host.now += 60
    assert problems[:3] == [None] * 3
    assert problems[3] is not None
    assert problems[3].code is CauseCode.NO_ENGINE


def test_absent_server_is_no_problem_of_the_image(host: Host) -> None:
    host.blobs.error = ServerUnreachable("gone")
    deployment = deployment_of(LAYER[0])
    for _ in range(5):
        assert host.provide(deployment) is None
        host.now += 60
    host.blobs.error = None
    host.provide(deployment)
    assert host.provider.ready() == {deployment.id}


def test_server_that_keeps_saying_later_becomes_a_problem(host: Host) -> None:
    host.blobs.error = Unavailable("later")
    problems = []
    for _ in range(4):
        problems.append(host.provide(deployment_of(LAYER[0])))
        host.now += 60
    assert problems[:3] == [None] * 3
    assert problems[3] is not None


def test_failed_attempt_is_not_repeated_at_once(host: Host) -> None:
    host.blobs.error = ServerUnreachable("gone")
    deployment = deployment_of(LAYER[0])
    host.provide(deployment)
    host.provider.ensure(deployment)
    host.now += 0.6
    host.provide(deployment)
    assert len(host.blobs.asked) == 2


def test_bug_is_reported_as_internal(host: Host) -> None:
    host.blobs.error = RuntimeError("a bug")
    problem = host.provide(deployment_of(LAYER[0]))
    assert problem is not None
    assert problem.code is CauseCode.INTERNAL


def test_forgotten_deployment_leaves_nothing(host: Host) -> None:
    layer, _ = make_blob(b"other")
    deployment = deployment_of(layer)
    host.provide(deployment)
    host.provider.keep_only(set())
    assert host.provider.problems() == {}
    assert host.provider.ready() == frozenset()


class TestSignature:
    def refusal(self, host: Host, deployment: DesiredDeployment) -> Cause:
        cause = host.provide(deployment)
        assert cause is not None
        assert cause.code is CauseCode.SIGNATURE_INVALID
        assert host.blobs.asked == []
        assert host.provider.ready() == frozenset()
        return cause

    def test_image_without_one_is_not_even_fetched(self, host: Host) -> None:
        deployment = deployment_of(LAYER[0]).model_copy(update={"signature": None})
        assert "has no signature" in self.refusal(host, deployment).message

    def test_of_a_foreign_key_is_refused(self, host: Host) -> None:
        deployment = deployment_of(LAYER[0])
        key = SigningKey.generate()
        signature = key.sign(deployment.manifest.digest)
        cause = self.refusal(host, deployment.model_copy(update={"signature": signature}))
        assert "not trusted" in cause.message
        assert any(key.public.id in line for line in cause.evidence)

    def test_of_another_manifest_is_refused(self, host: Host) -> None:
        deployment = deployment_of(LAYER[0])
        manifest = deployment.manifest.model_copy(update={"script": "evil.py"})
        self.refusal(host, deployment.model_copy(update={"manifest": manifest}))

    def test_of_a_key_that_is_trusted_later_is_taken_later(self, host: Host) -> None:
        deployment = deployment_of(LAYER[0])
        key = SigningKey.generate()
        signature = key.sign(deployment.manifest.digest)
        deployment = deployment.model_copy(update={"signature": signature})
        self.refusal(host, deployment)
        host.trusted.add(key.public)
        host.now += 60
        assert host.provide(deployment) is None
        assert host.provider.ready() == {deployment.id}

    def test_of_a_key_that_is_trusted_no_more_starts_nothing_more(self, host: Host) -> None:
        deployment = deployment_of(LAYER[0])
        assert host.provide(deployment) is None
        assert host.provider.layers(deployment) is not None
        for path in (host.partial.parent / "trusted").glob("*.pem"):
            path.unlink()
        assert host.provider.layers(deployment) is None
        host.blobs.asked.clear()
        self.refusal(host, deployment)
