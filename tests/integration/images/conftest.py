"""A builder whose environment is made once for all tests of this folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import JsonValue
from tests.integration.images.making import WHEELHOUSE, make_request, trusted_key

from modelyard.blobs.local import LocalBlobs
from modelyard.domain.image import CheckReport, Layer, Manifest
from modelyard.domain.model import Model
from modelyard.domain.service import Network
from modelyard.images.bases.ground import Ground
from modelyard.images.builder import ImageBuilder
from modelyard.images.environment import Lock
from modelyard.images.launch import current_interpreter
from modelyard.images.layers import LayerCache
from modelyard.settings import Settings


class Workshop:
    """A home folder with a builder, and the environment that holds nothing but the runtime's."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.blobs = LocalBlobs(home / "blobs")
        self.layers = LayerCache(home / "layers")
        self.key = trusted_key(home)
        self.lines: list[tuple[str, str]] = []
        self.builder = self.with_settings()
        self.ground = Ground(interpreter=current_interpreter(), base=None)
        request = make_request(self.blobs)
        interpreter = self.ground.interpreter
        self.lock: Lock = self.builder.lock([], interpreter, request, self.log)
        self.environment: Layer = self.builder.environment(self.lock, self.log)[1]

    def with_settings(self, **settings: Any) -> ImageBuilder:
        return ImageBuilder(
            self.blobs,
            self.layers,
            Settings(home=self.home, wheels=WHEELHOUSE, **settings),
            self.key,
        )

    def log(self, text: str, source: str = "build") -> None:
        self.lines.append((source, text))

    def assemble(
        self, script: str = "def run(data): ...", models: Sequence[Model] = (), **files: str
    ) -> Manifest:
        request = make_request(self.blobs, script, **files)
        return self.builder.assemble(
            request, models, self.ground, self.lock, self.environment, self.log
        )

    def check(
        self,
        script: str,
        sample: JsonValue = None,
        models: Sequence[Model] = (),
        files: dict[str, str] | None = None,
        network: Network = Network.NONE,
        **settings: Any,
    ) -> CheckReport:
        manifest = self.assemble(script, models, **(files or {}))
        builder = self.with_settings(**settings)
        signature = self.key.sign(manifest.digest)
        return builder.check(manifest, signature, sample, self.log, network)


@pytest.fixture(scope="session")
def _workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("workshop"))


@pytest.fixture
def workshop(_workshop: Workshop) -> Workshop:
    _workshop.lines.clear()
    return _workshop
