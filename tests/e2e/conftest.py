"""A running product in a home of its own, with environments from the wheelhouse."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import modelyard

ROOT = Path(__file__).parents[2]

BREAKABLE = """
import os, sys, time

BREAK = os.environ.get("BREAK", "")
LIFE = os.urandom(8).hex()
if BREAK == "import":
    raise ValueError("the moon is wrong")
if BREAK == "package":
    import not_installed_anywhere

def init():
    global answer
    folder = os.environ["MODELYARD_MODEL_DIR"]
    with open(os.path.join(folder, "gone.txt" if BREAK == "file" else "answer.txt")) as file:
        answer = file.read().strip()
    if BREAK == "raise":
        raise KeyError("weights")
    if BREAK == "exit":
        sys.exit(7)
    if BREAK == "hang":
        time.sleep(3600)
    if BREAK == "memory":
        global hoard
        hoard = [bytearray(b"x" * (1 << 20)) for _ in range(2000)]
        time.sleep(3600)

requests = 0

def spoil():
    # Only for callers: the image's sample is scored as ever.
    global requests, hoard
    requests += 1
    if BREAK == "later-all" or (BREAK == "later-some" and requests % 10 == 0):
        raise ArithmeticError("no answer for you")
    if BREAK == "later-slow":
        time.sleep(0.3)  # far from what a busy machine makes of the others
    if BREAK == "later-memory":
        hoard = [bytearray(b"x" * (1 << 20)) for _ in range(2000)]
        time.sleep(3600)

def run(data: dict):
    if BREAK == "scoring":
        raise ArithmeticError("no answer today")
    if "sleep" not in data:
        spoil()
        if BREAK == "later-shape":
            return ["forty", "two"]
    if data.get("sleep"):
        time.sleep(data["sleep"])
    return {"answer": answer, "life": LIFE, "got": data}
"""
"""A script that works, and breaks in a way that an environment variable chooses."""


@pytest.fixture(scope="package")
def product() -> Iterator[None]:
    """A home for all tests of a folder; what was started in it is stopped at the end."""
    with a_home():
        yield


@contextmanager
def a_home(**more: str) -> Iterator[Path]:
    """A home of its own, for servers with these variables, too."""
    folder = Path(tempfile.mkdtemp(prefix="my-"))
    variables = {
        "HOME": str(folder),
        "MODELYARD_HOME": str(folder / "home"),
        "MODELYARD_SERVER_PORT": "0",
        "MODELYARD_GATEWAY_PORT": "0",
        "MODELYARD_ALERT_ALLOW_PRIVATE": "127.0.0.1",
        "MODELYARD_WHEELS": str(ROOT / ".wheelhouse"),
        **more,
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        try:
            yield folder / "home"
        finally:
            with modelyard.connect() as client:
                client.stop_server(everything=True)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="package")
def yard(product: None) -> Iterator[modelyard.Client]:
    """A client of that home's server."""
    with modelyard.connect() as client:
        yield client


@pytest.fixture(scope="package")
def breakable(yard: modelyard.Client, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Reference of an image with the breakable script."""
    return build_breakable(yard, tmp_path_factory.mktemp("breakable"), "forty-two").reference


def build_breakable(yard: modelyard.Client, folder: Path, answer: str) -> modelyard.Image:
    """An image whose service answers `answer`."""
    (folder / "answer.txt").write_text(answer)
    (folder / "score.py").write_text(BREAKABLE)
    model = yard.models.register("breakable", folder / "answer.txt", sample_input={"sleep": 0})
    return yard.images.build("breakable", models=[model.reference], script=folder / "score.py")
