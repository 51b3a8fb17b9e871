"""The whole product in a folder of its own, with an image that takes as long as it is told."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

import modelyard
from bench.runtime.client import Wire

_ROOT = Path(__file__).parents[2]
_SCRIPT = """
import asyncio

def init():
    pass

async def run(data: dict):
    await asyncio.sleep(data["seconds"])
    return data
"""


@dataclass(frozen=True)
class Product:
    """One that runs."""

    yard: modelyard.Client
    home: Path

    def image(self, note: str = "") -> str:
        """Build the image; with another note it is another image."""
        folder = self.home.parent
        (folder / "score.py").write_text(f"{_SCRIPT}\n# {note}\n")
        (folder / "note.txt").write_text(note)
        model = self.yard.models.register("bench", folder / "note.txt", sample_input={"seconds": 0})
        build = self.yard.images.build
        return build("bench", models=[model.reference], script=folder / "score.py").reference

    def deploy(self, image: str, **settings: Any) -> tuple[int, Wire]:
        """The port of the gateway, and a request to the new service `bench` that takes no time."""
        service = self.yard.services.deploy("bench", image, **settings)
        place = urlsplit(str(service.scoring_uri))
        key = self.yard.services.keys("bench").primary
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
        return int(place.port or 0), lasting(Wire(place.path, b"", headers), 0)

    def gateway_processes(self) -> list[int]:
        """The process that the agent started, and those that it started."""
        first = psutil.Process(self.document("agent", "gateway", "status.json")["pid"])
        return [first.pid, *(child.pid for child in first.children())]

    def document(self, *path: str) -> dict[str, Any]:
        """A JSON file below the home folder."""
        return dict(json.loads(self.home.joinpath(*path).read_bytes()))


def lasting(wire: Wire, seconds: float) -> Wire:
    """The same request, for which a replica takes so long."""
    return replace(wire, body=json.dumps({"seconds": seconds}).encode())


@contextmanager
def product(**variables: str) -> Iterator[Product]:
    """Started, with further environment variables; gone with everything it started at the end."""
    before = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="my-", ignore_cleanup_errors=True) as name:
        home = Path(name) / "home"
        os.environ |= {
            "MODELYARD_HOME": str(home),
            "MODELYARD_SERVER_PORT": "0",
            "MODELYARD_GATEWAY_PORT": "0",
            "MODELYARD_WHEELS": str(_ROOT / ".wheelhouse"),
            **variables,
        }
        try:
            with modelyard.connect() as yard:
                yield Product(yard, home)
        finally:
            with modelyard.connect() as yard:  # the server may be another one by now
                yard.stop_server(everything=True)
            os.environ.clear()
            os.environ |= before
