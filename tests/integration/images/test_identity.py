"""The same inputs give the same image, whatever stands around the build: the base included."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.integration.images.copying import copy_python
from tests.integration.images.making import WHEELHOUSE, make_model, make_request

from modelyard.blobs.local import LocalBlobs
from modelyard.domain.image import Manifest
from modelyard.images.builder import ImageBuilder
from modelyard.images.layers import LayerCache
from modelyard.images.signing import SigningKey
from modelyard.settings import Settings

SOURCES = Path(__file__).parents[3]
ELSEWHERE = """
import sys
from pathlib import Path
from tests.integration.images.test_identity import build
print(build(Path(sys.argv[1])).digest)
"""


def build(home: Path) -> Manifest:
    """An image with something of everything, from empty caches."""
    blobs = LocalBlobs(home / "blobs")
    settings = Settings(home=home, wheels=WHEELHOUSE)
    builder = ImageBuilder(blobs, LayerCache(home / "layers"), settings, SigningKey.generate())

    def log(text: str, source: str = "build") -> None:
        del text, source

    request = make_request(
        blobs, requirements=["joblib", "threadpoolctl"], other="x = {'a', 'b'}\n"
    )
    ground = builder.ground("host", None, log)
    lock = builder.lock(request.requirements, ground.interpreter, request, log)
    lock, environment = builder.environment(lock, log)
    models = [make_model(blobs, weights=b"weights")]
    return builder.assemble(request, models, ground, lock, environment, log)


@pytest.mark.skipif(sys.platform != "linux", reason="an interpreter can be copied on Linux only")
def test_it_depends_on_nothing_but_its_inputs(tmp_path: Path) -> None:
    """Another home, umask, working folder, environment, and path of the interpreter."""
    first = build(tmp_path / "one")
    assert first.base is not None
    python = copy_python(tmp_path / "another python")
    done = subprocess.run(
        [python, "-c", ELSEWHERE, tmp_path / "a longer path" / "two"],
        env={
            "PYTHONPATH": os.pathsep.join([str(SOURCES), *filter(None, sys.path)]),
            "PATH": os.defpath,
            "HOME": str(tmp_path),
            "LANG": "C",
            "TZ": "Asia/Tokyo",
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        umask=0o077,
    )
    assert done.stdout.strip() == first.digest, done.stderr
