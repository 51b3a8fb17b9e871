"""Images for containers whose runtime is `fake_runtime`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tests.containers.base import host_base
from tests.integration.agent.images import make_image

from modelyard.domain.image import Manifest


def make_container_image(mark: str = "1") -> tuple[Manifest, dict[str, bytes]]:
    """A manifest that stands on this host's Python, and its blobs by digest."""
    manifest, blobs = make_image(mark)
    base, data = host_base()
    return manifest.model_copy(update={"base": base}), {**blobs, base.layers[0].digest: data}


class Stored:
    """Blobs that are at hand."""

    def __init__(self, blobs: Mapping[str, bytes]) -> None:
        self._blobs = blobs

    def blob(self, digest: str, start: int) -> Iterator[bytes]:
        yield self._blobs[digest][start:]
