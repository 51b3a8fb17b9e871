"""Images of ours as OCI images, and the forms in which they leave."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.images.oci.images import Yard, files_of

from modelyard.domain.image import Image, ImageState
from modelyard.errors import Conflict
from modelyard.images.oci.documents import LAYER, LAYER_GZIP, read_config, read_manifest
from modelyard.images.oci.forms import (
    Archive,
    containerfile_archive,
    docker_archive,
    oci_archive,
)
from modelyard.images.oci.layout import Layout
from modelyard.images.oci.rendering import Part, Rendered, render, render_plain

EVIL = 'x"\n\rUSER root\n$HOME `id` \\ \x1b[31m {{.}} é'


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    return Yard(tmp_path / "blobs")


def body_of(part: Part) -> bytes:
    return b"".join(part.read(0, part.descriptor.size))


def config_of(rendered: Rendered) -> Any:
    return json.loads(body_of(rendered.config))


class TestRender:
    def test_base_first_then_ours_and_the_manifest_last(self, yard: Yard) -> None:
        rendered = render(yard.image(), yard.blobs, yard.gzip)
        assert [part.title for part in rendered.layers] == [
            "base 0", "base 1", "environment", "runtime", "code", "model", "manifest.json",
        ]  # fmt: skip
        types = [part.descriptor.media_type for part in rendered.layers]
        assert types == [LAYER_GZIP, LAYER, *[LAYER_GZIP] * 5]
        base = [part.descriptor.digest for part in rendered.layers[:2]]
        assert base == [layer.digest for layer in yard.base.layers]

    def test_every_promise_is_kept(self, yard: Yard) -> None:
        for part in render(yard.image(), yard.blobs, yard.gzip).parts:
            body = body_of(part)
            assert len(body) == part.descriptor.size
            assert f"sha256:{hashlib.sha256(body).hexdigest()}" == part.descriptor.digest

    def test_is_read_by_our_own_strict_reader(self, yard: Yard) -> None:
        rendered = render(yard.image(), yard.blobs, yard.gzip)
        manifest = read_manifest(
            body_of(rendered.manifest), rendered.manifest.descriptor.media_type
        )
        assert [one.digest for one in manifest.layers] == [
            part.descriptor.digest for part in rendered.layers
        ]
        config = read_config(body_of(rendered.config))
        assert config.rootfs.diff_ids == [part.diff_id for part in rendered.layers]

    def test_the_same_image_gives_the_same_bytes(self, yard: Yard, tmp_path: Path) -> None:
        other = Yard(tmp_path / "elsewhere")
        one = render(yard.image(), yard.blobs, yard.gzip)
        two = render(other.image(), other.blobs, other.gzip)
        assert one.manifest.descriptor == two.manifest.descriptor

    def test_a_retrained_model_changes_three_blobs(self, yard: Yard, tmp_path: Path) -> None:
        other = Yard(tmp_path / "elsewhere")
        layers = list(other.manifest.layers)
        layers[3] = other.layer(layers[3].kind, {"opt/modelyard/models/digits/3/w.json": b"new"})
        other.manifest = other.manifest.model_copy(update={"layers": tuple(layers)})
        one = {part.descriptor.digest for part in render(yard.image(), yard.blobs, yard.gzip).parts}
        two = render(other.image(), other.blobs, other.gzip).parts
        new = [part.title for part in two if part.descriptor.digest not in one]
        assert new == ["model", "manifest.json", "config", "manifest"]

    def test_says_how_a_container_is_started(self, yard: Yard) -> None:
        config = config_of(render(yard.image(), yard.blobs, yard.gzip))
        assert (config["os"], config["architecture"]) == ("linux", "amd64")
        run = config["config"]
        assert run["User"] == "65532:65532"
        assert run["Entrypoint"] == [
            "/usr/bin/python3.11", "-s", "-S", "-P", "-m", "modelyard_runtime",
            "--image", "/opt/modelyard/manifest.json",
        ]  # fmt: skip
        assert run["ExposedPorts"] == {"8080/tcp": {}}
        assert "PATH=/usr/bin" in run["Env"]
        assert "LANG=de_DE.UTF-8" in run["Env"]
        assert "PYTHONPATH=/opt/modelyard/runtime:/opt/modelyard/environment" in run["Env"]
        assert config["created"] == "1970-01-01T00:00:00Z"

    def test_a_base_does_not_choose_what_is_imported(self, yard: Yard, tmp_path: Path) -> None:
        environment = {"PYTHONPATH": "/evil", "A=B": "x", "": "y", "X\nY": "z"}
        base = yard.base.model_copy(update={"environment": environment})
        other = Yard(tmp_path / "other", base=base)
        run = config_of(render(other.image(), other.blobs, other.gzip))["config"]
        names = [text.split("=")[0] for text in run["Env"]]
        assert len(names) == len(set(names))
        assert all(re.fullmatch("[A-Z_]+", name) for name in names)
        assert "PYTHONPATH=/evil" not in run["Env"]

    def test_says_what_it_is(self, yard: Yard) -> None:
        labels = config_of(render(yard.image(), yard.blobs, yard.gzip))["config"]["Labels"]
        assert labels["org.opencontainers.image.title"] == "digits"
        assert labels["org.opencontainers.image.version"] == "7"
        assert labels["org.opencontainers.image.base.digest"] == yard.base.digest
        assert labels["io.modelyard.digest"] == yard.manifest.digest
        assert json.loads(labels["io.modelyard.models"]) == ["digits:3"]
        assert json.loads(labels["io.modelyard.sample"]) == [1, 2]
        assert json.loads(labels["io.modelyard.schema"]) == {"ServiceInput": {"type": "array"}}

    def test_labels_are_harmless(self, yard: Yard) -> None:
        image = yard.image(description=EVIL + "\0", check=None)
        labels = config_of(render(image, yard.blobs, yard.gzip))["config"]["Labels"]
        assert all(re.fullmatch(r"[ -~]+", text) for text in labels.values())

    def test_what_is_too_long_is_left_out(self, yard: Yard) -> None:
        check = yard.image().check
        assert check is not None
        check = check.model_copy(update={"sample": "x" * 20_000})
        image = yard.image(check=check, description="")
        labels = config_of(render(image, yard.blobs, yard.gzip))["config"]["Labels"]
        assert "io.modelyard.sample" not in labels
        assert "org.opencontainers.image.description" not in labels

    @pytest.mark.parametrize("changes", [{"base": None}])
    def test_without_a_base_it_is_refused(self, tmp_path: Path, changes: dict[str, Any]) -> None:
        yard = Yard(tmp_path / "other", **changes)
        with pytest.raises(Conflict, match="has no base"):
            render(yard.image(), yard.blobs, yard.gzip)
        assert yard.compressions == 0

    def test_what_is_not_built_is_refused(self, yard: Yard) -> None:
        with pytest.raises(Conflict, match="not built"):
            render_plain(yard.image(manifest=None, state=ImageState.FAILED), yard.blobs)


FORMS: list[Callable[[Image, Yard], Archive]] = [
    lambda image, yard: oci_archive(image, yard.blobs, yard.gzip),
    lambda image, yard: docker_archive(image, yard.blobs),
    lambda image, yard: containerfile_archive(image, yard.blobs),
]


class TestForms:
    @pytest.mark.parametrize("form", FORMS)
    def test_are_as_long_as_they_say_and_always_the_same(
        self, yard: Yard, form: Callable[[Image, Yard], Archive]
    ) -> None:
        archive = form(yard.image(), yard)
        body = b"".join(archive.chunks)
        assert len(body) == archive.size
        assert body == b"".join(form(yard.image(), yard).chunks)

    def test_oci_is_a_whole_layout(self, yard: Yard) -> None:
        layout = Layout(files_of(oci_archive(yard.image(), yard.blobs, yard.gzip)))
        layout.check_complete()
        found = layout.find(yard.manifest.platform)
        assert len(found.manifest.layers) == 7

    def test_docker_has_the_same_configuration(self, yard: Yard) -> None:
        files = files_of(docker_archive(yard.image(), yard.blobs))
        (entry,) = json.loads(b"".join(files.open("manifest.json")))
        assert entry["RepoTags"] == ["digits:7"]
        rendered = render(yard.image(), yard.blobs, yard.gzip)
        assert b"".join(files.open(entry["Config"])) == body_of(rendered.config)
        assert set(files.names()) == {"manifest.json", entry["Config"], *entry["Layers"]}

    def test_a_containerfile_adds_the_layers_in_their_order(self, yard: Yard) -> None:
        files = files_of(containerfile_archive(yard.image(), yard.blobs))
        text = b"".join(files.open("Containerfile")).decode()
        added = [json.loads(line[4:]) for line in text.splitlines() if line.startswith("ADD ")]
        assert added == [[f"layers/{n:02}.tar{'.gz' if n == 0 else ''}", "/"] for n in range(7)]
        assert {name for name, _ in added} | {"Containerfile"} == set(files.names())

    def test_nothing_is_injected_into_a_containerfile(self, yard: Yard, tmp_path: Path) -> None:
        base = yard.base.model_copy(
            update={"environment": {"EVIL": EVIL}, "python": "/usr/bin/x\nUSER root"}
        )
        other = Yard(tmp_path / "other", base=base)
        files = files_of(containerfile_archive(other.image(description=EVIL), other.blobs))
        lines = b"".join(files.open("Containerfile")).decode().splitlines()
        words = {line.split(" ")[0] for line in lines}
        assert words == {
            "#", "FROM", "ADD", "ENV", "LABEL", "USER", "EXPOSE", "STOPSIGNAL", "WORKDIR",
            "ENTRYPOINT",
        }  # fmt: skip
        assert [line for line in lines if line.startswith("USER")] == ["USER 65532:65532"]
        for line in lines:
            if line.startswith(("ENV", "LABEL")):
                assert len(shlex.split(line)) == 2
                assert not re.search(r"(?<!\\)[$`]", line)
