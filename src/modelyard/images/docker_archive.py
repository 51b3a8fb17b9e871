"""An image as one stream in the form that every engine loads: Docker's own archive of images."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from modelyard.domain.image import Base, Manifest
from modelyard.images import tar

_USER = "65532:65532"


def docker_archive(
    manifest: Manifest, base: Base, tag: str, blob: Callable[[str], Iterable[bytes]]
) -> Iterator[bytes]:
    """The archive in pieces.

    Args:
        manifest: The image.
        base: What it stands on.
        tag: What an engine is to call it.
        blob: The bytes of a layer by its digest.
    """
    layers = [(layer.digest, layer.size, layer.diff_id) for layer in base.layers]
    layers += [(layer.digest, layer.size, layer.digest) for layer in manifest.layers]
    config = json.dumps(_config(manifest, [diff_id for *_, diff_id in layers])).encode()
    name = f"{hashlib.sha256(config).hexdigest()}.json"
    listing = {
        "Config": name,
        "RepoTags": [tag],
        "Layers": [_layer_name(digest) for digest, *_ in layers],
    }
    yield from _member(name, [config], len(config))
    for digest, size, _ in layers:
        yield from _member(_layer_name(digest), blob(digest), size)
    text = json.dumps([listing]).encode()
    yield from _member("manifest.json", [text], len(text))
    yield tar.END


def _config(manifest: Manifest, diff_ids: list[str]) -> dict[str, Any]:
    return {
        "architecture": manifest.platform.architecture,
        "os": manifest.platform.os,
        "config": {"User": _USER, "Labels": {"io.modelyard.digest": manifest.digest}},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }


def _layer_name(digest: str) -> str:
    return f"{digest.removeprefix('sha256:')}.tar"


def _member(name: str, content: Iterable[bytes], size: int) -> Iterator[bytes]:
    yield tar.header(tar.Member(name, size))
    yield from content
    yield tar.padding(size)
