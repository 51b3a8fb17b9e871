"""Pushing to a real registry and pulling from it."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.factories import KEY, digest_of
from tests.integration.registry.debian import DebianRegistry, debian_registry

from modelyard.domain.image import Platform
from modelyard.errors import InvalidRequest, NotFound
from modelyard.images.oci.attachments import artifact, attachments
from modelyard.images.oci.documents import (
    CONFIG,
    INDEX,
    LAYER,
    MANIFEST,
    Descriptor,
    to_json,
)
from modelyard.images.registry import uploads
from modelyard.images.registry.client import Repository
from modelyard.images.registry.referrers import pull_attachments, push_artifacts
from modelyard.images.registry.uploads import push_blob, push_manifest

AMD, ARM = (Platform(os="linux", architecture=name) for name in ("amd64", "arm64"))


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DebianRegistry]:
    with debian_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


def descriptor(body: bytes, media_type: str = LAYER) -> Descriptor:
    digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
    return Descriptor(media_type=media_type, digest=digest, size=len(body))


def push(repository: Repository, body: bytes, mount_from: str | None = None) -> str:
    return push_blob(
        repository,
        descriptor(body),
        lambda offset, length: body[offset : offset + length],
        mount_from,
    )


def push_image(name: str, layer: bytes, platform: Platform = AMD) -> Descriptor:
    with Repository(name, "pull,push") as repository:
        document = {
            "os": platform.os,
            "architecture": platform.architecture,
            "rootfs": {"type": "layers", "diff_ids": [descriptor(layer).digest]},
        }
        config = to_json(document)
        for body in (layer, config):
            push(repository, body)
        manifest = to_json(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": descriptor(config, CONFIG).model_dump(by_alias=True, exclude_none=True),
                "layers": [descriptor(layer).model_dump(by_alias=True, exclude_none=True)],
            }
        )
        pushed = descriptor(manifest, MANIFEST)
        push_manifest(repository, pushed, manifest)
        return pushed


def test_what_was_pushed_is_pulled(registry: DebianRegistry) -> None:
    layer = os.urandom(100_000)
    pushed = push_image(f"{registry.host}/a/b:1", layer)
    for name in (f"{registry.host}/a/b:1", f"{registry.host}/a/b@{pushed.digest}"):
        with Repository(name) as repository:
            found = repository.pull_manifest(AMD)
            assert found.descriptor.digest == pushed.digest
            assert b"".join(repository.open(found.manifest.layers[0])) == layer


@pytest.mark.parametrize("size", [0, 1, 999, 1000, 1001, 5000])
def test_in_pieces(registry: DebianRegistry, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "CHUNK", 1000)
    body = os.urandom(size)
    with Repository(f"{registry.host}/pieces:1", "pull,push") as repository:
        assert push(repository, body) == "uploaded"
        assert push(repository, body) == "there"
        assert b"".join(repository.open(descriptor(body))) == body


def test_mounts_what_another_repository_has(registry: DebianRegistry) -> None:
    body = os.urandom(1000)
    with Repository(f"{registry.host}/one:1", "pull,push") as repository:
        push(repository, body)
    with Repository(f"{registry.host}/two:1", "pull,push") as repository:
        assert push(repository, body, mount_from="one") == "mounted"
        assert push(repository, os.urandom(9), mount_from="one") == "uploaded"


def test_finds_the_image_for_a_platform(registry: DebianRegistry) -> None:
    name = f"{registry.host}/many"
    entries = []
    for platform in (AMD, ARM):
        pushed = push_image(f"{name}:{platform.architecture}", os.urandom(100), platform)
        entries.append(
            {
                **pushed.model_dump(by_alias=True, exclude_none=True),
                "platform": {"os": "linux", "architecture": platform.architecture},
            }
        )
    index = to_json({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})
    with Repository(f"{name}:all", "pull,push") as repository:
        push_manifest(repository, descriptor(index, INDEX), index)
    with Repository(f"{name}:all") as repository:
        for platform, entry in zip((AMD, ARM), entries, strict=True):
            found = repository.pull_manifest(platform)
            assert (found.platform, found.descriptor.digest) == (platform, entry["digest"])
        with pytest.raises(InvalidRequest, match="linux/amd64, linux/arm64"):
            repository.pull_manifest(Platform(os="linux", architecture="riscv64"))
        with pytest.raises(InvalidRequest, match="several"):
            repository.pull_manifest(None)


def test_what_is_not_there(registry: DebianRegistry) -> None:
    with Repository(f"{registry.host}/none:1") as repository:
        with pytest.raises(NotFound, match="none:1"):
            repository.pull_manifest()
        with pytest.raises(NotFound):
            b"".join(repository.open(descriptor(b"nothing")))


# The user `ann` with the password `s3cret`, in bcrypt.
HTPASSWD = "ann:$2y$05$abcdefghijklmnopqrstuuLK7U1u6pVRmL7L1BBM2aS35PSZnDXlK\n"


def test_wants_to_know_who_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    with debian_registry(tmp_path, HTPASSWD) as registry:
        name = f"{registry.host}/mine:1"
        with pytest.raises(InvalidRequest, match="does not let nobody in particular"):
            push_image(name, b"layer")
        auth = base64.b64encode(b"ann:s3cret").decode()
        document = {"auths": {registry.host: {"auth": auth}}}
        (tmp_path / "config.json").write_text(json.dumps(document))
        push_image(name, b"layer")


def test_attachments_are_found_again_although_it_lists_none_itself(
    registry: DebianRegistry,
) -> None:
    name = f"{registry.host}/team/signed:1"
    subject = push_image(name, b"signed")
    kept = attachments(digest_of("image"), KEY.sign(digest_of("image")), b"{}")
    with Repository(name, "pull,push") as repository:
        assert pull_attachments(repository, subject) == []
        push_artifacts(repository, subject, [artifact(one, subject) for one in kept])
        assert pull_attachments(repository, subject) == list(kept)
        assert repository.pull_manifest().descriptor.digest == subject.digest
