"""Layouts for tests, whole or broken."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from modelyard.images.oci.documents import CONFIG, INDEX, LAYER, MANIFEST, to_json


class LayoutFolder:
    """A layout below a folder; what a test puts into it is what is read."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "blobs/sha256").mkdir(parents=True)
        (root / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')

    def put(self, body: bytes, media_type: str = LAYER) -> dict[str, Any]:
        """Add a blob; its descriptor."""
        name = hashlib.sha256(body).hexdigest()
        (self.root / "blobs/sha256" / name).write_bytes(body)
        return {"mediaType": media_type, "digest": f"sha256:{name}", "size": len(body)}

    def image(self, architecture: str = "amd64", layer: bytes = b"layer", **more: Any) -> Any:
        """Add an image of one layer; the descriptor of its manifest."""
        placed = self.put(layer)
        config = {
            "os": "linux",
            "architecture": architecture,
            "rootfs": {"type": "layers", "diff_ids": [placed["digest"]]},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.put(to_json(config), CONFIG),
            "layers": [placed],
            **more,
        }
        return self.put(to_json(manifest), MANIFEST)

    def index(self, *manifests: Any) -> None:
        """Say what images there are."""
        document = {"schemaVersion": 2, "manifests": list(manifests)}
        (self.root / "index.json").write_text(json.dumps(document))

    def nested(self, *manifests: Any) -> Any:
        """Add an index; its descriptor."""
        return self.put(to_json({"schemaVersion": 2, "manifests": list(manifests)}), INDEX)

    def path(self, descriptor: Any) -> Path:
        """The file of a blob."""
        return self.root / "blobs/sha256" / descriptor["digest"].removeprefix("sha256:")


def on(descriptor: Any, architecture: str) -> Any:
    """The descriptor, marked for a platform."""
    return {**descriptor, "platform": {"os": "linux", "architecture": architecture}}
