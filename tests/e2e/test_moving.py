"""An image on the move: to container engines, to a registry, and to another server."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import tarfile
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import joblib
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from tests.containers.podman import Podman
from tests.e2e.conftest import ROOT
from tests.integration.registry.debian import DebianRegistry, debian_registry
from tests.programs import program

import modelyard
from modelyard.domain.image import Image
from modelyard.domain.operation import OperationState

PATIENCE = 60.0
EXAMPLE = ROOT / "examples" / "01-digits"


@pytest.fixture(scope="module")
def samples() -> list[list[float]]:
    images, _ = load_digits(return_X_y=True)
    return [list(row) for row in images[:20].tolist()]


def build_digits(yard: modelyard.Client, folder: Path, regularisation: float) -> Image:
    images, digits = load_digits(return_X_y=True)
    model = LogisticRegression(max_iter=200, C=regularisation).fit(images, digits)
    joblib.dump(model, folder / "digits.joblib")
    registered = yard.models.register("digits", folder / "digits.joblib")
    return yard.images.build(
        "digits",
        models=[registered.reference],
        script=EXAMPLE / "score.py",
        requirements=EXAMPLE / "requirements.txt",
        sample=[images[0].tolist()],
        base="host",
    )


@pytest.fixture(scope="module")
def digits(yard: modelyard.Client, tmp_path_factory: pytest.TempPathFactory) -> Image:
    return build_digits(yard, tmp_path_factory.mktemp("digits"), 1.0)


@pytest.fixture(scope="module")
def archive(
    yard: modelyard.Client, digits: Image, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    path = tmp_path_factory.mktemp("archive") / "digits.tar"
    yard.images.export(digits.reference, path)
    return path


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DebianRegistry]:
    with debian_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture(scope="module")
def elsewhere_home() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="my-"))
    yield folder / "home"
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def elsewhere(elsewhere_home: Path) -> Iterator[modelyard.Client]:
    """A client of another server, which knows nothing of the first one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(elsewhere_home.parent))
        patch.setenv("MODELYARD_HOME", str(elsewhere_home))
        patch.setenv("MODELYARD_SERVER_PORT", "0")
        patch.setenv("MODELYARD_GATEWAY_PORT", "0")
        client = modelyard.connect()
    yield client
    client.stop_server(everything=True)
    client.close()


@contextmanager
def container(podman: Podman, image: str, *options: str) -> Iterator[str]:
    """A container of an image, ready; its address."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        port = holder.getsockname()[1]
    name = podman.run(
        "run", "--detach", "--read-only", "--network", "host", "--cap-drop", "all",
        "--security-opt", "no-new-privileges", "--env", f"MODELYARD_PORT={port}",
        *options, image,
    ).strip()  # fmt: skip
    try:
        deadline = time.monotonic() + PATIENCE
        while not is_ready(port):
            assert time.monotonic() < deadline, podman.run("logs", name)
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
        podman.run("stop", "--time", "30", name)
        (state,) = json.loads(podman.run("inspect", name))
        assert state["State"]["ExitCode"] == 0, "it drains at SIGTERM"
    finally:
        podman.run("rm", "--force", "--time", "0", name)


def is_ready(port: int) -> bool:
    with suppress(OSError):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=PATIENCE).close()
        return True
    return False


def score(address: str, body: Any) -> Any:
    request = urllib.request.Request(f"{address}/score", json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return json.load(answer)


def run(*command: str) -> str:
    done = subprocess.run(
        [program(command[0]), *command[1:]], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


class TestEngines:
    def test_a_container_answers_as_local_does(
        self,
        yard: modelyard.Client,
        digits: Image,
        archive: Path,
        podman: Podman,
        samples: list[list[float]],
    ) -> None:
        service = yard.services.deploy("moving", digits.reference)
        local = yard.services.score(service.name, samples)
        podman.run("load", "--input", str(archive))
        with container(podman, f"localhost/{digits.reference}") as address:
            assert score(address, samples) == local
        yard.services.delete(service.name)

    def test_the_user_inside_is_nobody(self, digits: Image, archive: Path, podman: Podman) -> None:
        podman.run("load", "--input", str(archive))
        image = f"localhost/{digits.reference}"
        (found,) = json.loads(podman.run("image", "inspect", image))
        assert found["User"] == "65532:65532"
        assert digits.digest == found["Labels"]["io.modelyard.digest"]

    def test_docker_s_archive_is_the_same_image(
        self, yard: modelyard.Client, digits: Image, archive: Path, podman: Podman, tmp_path: Path
    ) -> None:
        yard.images.export(digits.reference, tmp_path / "docker.tar", form="docker")
        image = f"localhost/{digits.reference}"
        podman.run("load", "--input", str(archive))
        (one,) = json.loads(podman.run("image", "inspect", image))
        podman.run("load", "--input", str(tmp_path / "docker.tar"))
        (two,) = json.loads(podman.run("image", "inspect", image))
        assert one["Id"] == two["Id"]

    def test_a_containerfile_builds_the_same_thing(
        self,
        yard: modelyard.Client,
        digits: Image,
        podman: Podman,
        tmp_path: Path,
        samples: list[list[float]],
    ) -> None:
        yard.images.export(digits.reference, tmp_path / "folder", form="containerfile")
        podman.run("build", "--tag", "built-from-file", str(tmp_path / "folder"))
        with container(podman, "localhost/built-from-file", "--env", "MODELYARD_WORKERS=1") as at:
            assert len(score(at, samples)) == len(samples)

    def test_other_programs_read_it(self, digits: Image, archive: Path, tmp_path: Path) -> None:
        found = json.loads(run("skopeo", "inspect", f"oci-archive:{archive}"))
        assert found["Labels"]["io.modelyard.digest"] == digits.digest
        run("skopeo", "copy", f"oci-archive:{archive}", f"oci:{tmp_path / 'copied'}:digits")
        run(
            "umoci", "unpack", "--rootless", "--image", f"{tmp_path / 'copied'}:digits",
            str(tmp_path / "bundle"),
        )  # fmt: skip
        root = tmp_path / "bundle" / "rootfs" / "opt" / "modelyard"
        assert digits.manifest is not None
        assert (root / "manifest.json").read_bytes() == digits.manifest.to_bytes()
        assert (root / "code" / "score.py").exists()


class TestArchives:
    def test_that_are_damaged_leave_nothing(
        self, elsewhere: modelyard.Client, archive: Path, tmp_path: Path
    ) -> None:
        assert elsewhere.images.list() == (), "what is there is not read again"
        body = bytearray(archive.read_bytes())
        body[len(body) // 2] ^= 1
        (tmp_path / "damaged.tar").write_bytes(body)
        with pytest.raises(modelyard.OperationFailed, match=r"layer sha256|blob sha256"):
            elsewhere.images.import_(tmp_path / "damaged.tar", name="damaged")
        with pytest.raises(modelyard.NotFound):
            elsewhere.images.get("damaged")

    def test_are_the_same_each_time(
        self, yard: modelyard.Client, digits: Image, archive: Path, tmp_path: Path
    ) -> None:
        with (tmp_path / "again.tar").open("wb") as stream:
            yard.images.export(digits.reference, stream)
        assert (tmp_path / "again.tar").read_bytes() == archive.read_bytes()

    def test_come_in_elsewhere(
        self, elsewhere: modelyard.Client, digits: Image, archive: Path, samples: Any
    ) -> None:
        lines: list[str] = []
        image = elsewhere.images.import_(
            archive, tags={"from": "afar"}, on_log=lambda line: lines.append(line.text)
        )
        assert (image.reference, image.digest) == ("digits:1", digits.digest)
        assert image.tags == {"from": "afar"}
        assert image.check is not None
        assert image.check.sample == digits.check.sample if digits.check else None
        assert {package.name for package in image.packages} >= {"scikit-learn", "numpy"}
        assert any("no key that is trusted here" in line for line in lines)
        service = elsewhere.services.deploy("moved", image.reference)
        assert len(elsewhere.services.score(service.name, samples)) == len(samples)
        elsewhere.services.delete(service.name)

    def test_come_in_once(self, elsewhere: modelyard.Client, archive: Path, tmp_path: Path) -> None:
        with tarfile.open(archive) as tar:
            tar.extractall(tmp_path / "layout", filter="data")
        one = elsewhere.images.import_(archive, name="once")
        two = elsewhere.images.import_(tmp_path / "layout", name="once")
        assert one.id == two.id

    def test_of_docker_come_in_too(
        self, yard: modelyard.Client, elsewhere: modelyard.Client, digits: Image, tmp_path: Path
    ) -> None:
        yard.images.export(digits.reference, tmp_path / "docker.tar", form="docker")
        image = elsewhere.images.import_(tmp_path / "docker.tar", name="from-docker")
        assert image.digest == digits.digest

    def test_a_file_that_is_there_is_not_replaced(
        self, yard: modelyard.Client, digits: Image, tmp_path: Path
    ) -> None:
        (tmp_path / "precious").write_text("kept")
        with pytest.raises(modelyard.Conflict):
            yard.images.export(digits.reference, tmp_path / "precious")
        assert (tmp_path / "precious").read_text() == "kept"


class TestRegistries:
    def test_what_was_pushed_is_pulled_elsewhere(
        self,
        yard: modelyard.Client,
        elsewhere: modelyard.Client,
        digits: Image,
        registry: DebianRegistry,
    ) -> None:
        name = f"{registry.host}/team/digits"
        pushed = yard.images.push(digits.reference, f"{name}:1")
        assert pushed.to == f"{name}:1"
        found = json.loads(run("skopeo", "inspect", "--tls-verify=false", f"docker://{name}:1"))
        assert found["Digest"] == pushed.digest
        image = elsewhere.images.pull(f"{name}@{pushed.digest}", name="pulled")
        assert image.digest == digits.digest
        assert image.signature is not None
        assert image.signature.key == elsewhere.images.key().id

    def test_a_second_push_sends_nothing(
        self, yard: modelyard.Client, digits: Image, registry: DebianRegistry
    ) -> None:
        yard.images.push(digits.reference, f"{registry.host}/twice:1")
        assert yard.images.push(digits.reference, f"{registry.host}/twice:1").uploaded == 0

    def test_a_retrained_model_sends_its_layer_only(
        self, yard: modelyard.Client, digits: Image, registry: DebianRegistry, tmp_path: Path
    ) -> None:
        yard.images.push(digits.reference, f"{registry.host}/retrained:1")
        retrained = build_digits(yard, tmp_path, 0.5)
        before = registry.blobs()
        pushed = yard.images.push(retrained.reference, f"{registry.host}/retrained:2")
        assert pushed.uploaded < 100_000
        # model, manifest layer, configuration, OCI manifest; signature and SBOM with their own
        assert len(registry.blobs() - before) <= 9

    def test_a_trusted_signature_comes_along(
        self,
        yard: modelyard.Client,
        elsewhere: modelyard.Client,
        elsewhere_home: Path,
        digits: Image,
        registry: DebianRegistry,
    ) -> None:
        yard.images.push(digits.reference, f"{registry.host}/signed:1")
        with pytest.raises(modelyard.OperationFailed, match="no key that is trusted here"):
            elsewhere.images.pull(f"{registry.host}/signed:1", name="signed", signed=True)
        key = yard.images.key()
        (elsewhere_home / "trusted" / "friend.pem").write_text(key.pem)
        image = elsewhere.images.pull(f"{registry.host}/signed:1", name="signed", signed=True)
        assert image.signature == digits.signature
        assert elsewhere.images.sbom("signed") == yard.images.sbom(digits.reference)

    def test_a_trusted_signature_comes_in_an_archive_too(
        self, yard: modelyard.Client, elsewhere: modelyard.Client, digits: Image, archive: Path
    ) -> None:
        """After the test above its key is trusted there."""
        image = elsewhere.images.import_(archive, name="archived", signed=True)
        assert image.signature == digits.signature
        assert elsewhere.images.sbom("archived") == yard.images.sbom(digits.reference)
        assert elsewhere.images.verify("archived").intact

    def test_another_name_of_the_same_registry_gets_it_mounted(
        self, yard: modelyard.Client, digits: Image, registry: DebianRegistry
    ) -> None:
        yard.images.push(digits.reference, f"{registry.host}/one:1")
        assert yard.images.push(digits.reference, f"{registry.host}/two:1").uploaded == 0

    def test_what_is_not_there(self, yard: modelyard.Client, registry: DebianRegistry) -> None:
        with pytest.raises(modelyard.OperationFailed, match="is not in its registry"):
            yard.images.pull(f"{registry.host}/none:1")
        with pytest.raises(modelyard.InvalidRequest, match="not the name of an image"):
            yard.images.pull("https://example.org/none")

    def test_an_image_of_others(
        self, yard: modelyard.Client, archive: Path, registry: DebianRegistry, tmp_path: Path
    ) -> None:
        other = tmp_path / "other"
        run("umoci", "init", "--layout", str(other))
        run("umoci", "new", "--image", f"{other}:x")
        run(
            "skopeo", "copy", "--dest-tls-verify=false", f"oci:{other}:x",
            f"docker://{registry.host}/other:1",
        )  # fmt: skip
        with pytest.raises(modelyard.OperationFailed, match="not an image of Modelyard"):
            yard.images.pull(f"{registry.host}/other:1", name="other")
        (operation, *_) = yard.operations.list(limit=1)
        assert operation.state is OperationState.FAILED
