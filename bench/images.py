"""Building images: a first build and its parts, a rebuild after retraining, sizes beside peers.

The first build is that of a scikit-learn image with nothing in any cache but the wheels. Its parts
are timed alone: the installer, the compiler, the writing of layers, the check start. After
retraining the model has 100 MB of weights that were not seen before; script and environment stay.
Peers are what BentoML and MLflow install into a container for the same model, as far as a package
index can be reached; the Python that all of them stand on is not counted.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uv

import modelyard
from modelyard.blobs.local import LocalBlobs
from modelyard.domain.image import LayerKind
from modelyard.images.bases.host import host_files, host_layer
from modelyard.images.bytecode import compile_sources
from modelyard.images.launch import ENVIRONMENT_ROOT, current_interpreter
from modelyard.images.layers import LayerCache, files_below, write_tree
from modelyard.images.parts import runtime_layer

WHEELS = Path(__file__).parents[1] / ".wheelhouse"
WEIGHTS = 100_000_000
ROUNDS = 5
FIRST_BUILDS = 3
REQUIREMENTS = ["scikit-learn"]
RUNTIME = ["httptools", "msgspec", "orjson", "uvloop"]
PEERS = {"BentoML": ["bentoml"], "MLflow": ["mlflow"]}
MIB = 1 << 20
SCRIPT = """
import os
def init():
    global size
    size = os.path.getsize(os.environ["MODELYARD_MODEL_DIR"] + "/weights.bin")
def run(rows: list):
    return [size for row in rows]
"""
LEARN = """
from sklearn.linear_model import LogisticRegression
def init():
    global model
    model = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
def run(rows: list):
    return model.predict(rows).tolist()
"""


@contextmanager
def server(folder: Path) -> Iterator[modelyard.Client]:
    """A server with a home of its own, ended afterwards."""
    home = Path(tempfile.mkdtemp(prefix="home-", dir=folder))
    os.environ |= {
        "MODELYARD_HOME": str(home),
        "MODELYARD_SERVER_PORT": "0",
        "MODELYARD_GATEWAY_PORT": "0",
        "MODELYARD_WHEELS": str(WHEELS),
    }
    with modelyard.connect() as yard:
        try:
            yield yard
        finally:
            yard.stop_server(everything=True)
    shutil.rmtree(home, ignore_errors=True)


def timed(work: Callable[[], object]) -> float:
    """Seconds that something takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def first_build(folder: Path) -> tuple[float, float]:
    """Seconds of a build from empty caches, and of its check."""
    with server(folder) as yard:
        began = time.perf_counter()
        image = learning_image(yard, folder)
        took = time.perf_counter() - began
    assert image.check is not None
    return took, image.check.cold_start + (image.check.scoring_time or 0.0)


def learning_image(yard: modelyard.Client, folder: Path, slim: bool = False) -> modelyard.Image:
    """An image with scikit-learn."""
    (folder / "score.py").write_text(LEARN)
    return yard.images.build(
        "first",
        models=[],
        script=folder / "score.py",
        requirements=REQUIREMENTS,
        sample=[[0.1]],
        slim=slim,
    )


def sizes(folder: Path) -> Iterator[dict[str, Any]]:
    """What is installed into an image, ours and those of peers, byte-compiled."""
    with server(folder) as yard:
        for slim in (False, True):
            manifest = learning_image(yard, folder, slim).manifest
            assert manifest is not None
            kinds = (LayerKind.ENVIRONMENT, LayerKind.RUNTIME)
            size = sum(manifest.layer(kind).size for kind in kinds)
            way = ", --slim" if slim else ""
            yield figure(f"scikit-learn image: environment and runtime{way}", size / MIB, "MiB")
    for peer, packages in PEERS.items():
        installed = peer_size(folder, packages)
        if installed is None:
            print(f"no package index has {peer}, so it is not compared", file=sys.stderr)
        else:
            yield figure(f"{peer}: what a container of it installs", installed / MIB, "MiB")


def parts(folder: Path) -> dict[str, float]:
    """Seconds of everything but the check that a first build has to do, each alone."""
    home = Path(tempfile.mkdtemp(prefix="parts-", dir=folder))
    tree = home / "tree"
    root = tree / ENVIRONMENT_ROOT
    root.mkdir(parents=True)
    (home / "layers").mkdir()
    blobs, layers = LocalBlobs(home / "blobs"), LayerCache(home / "layers")
    needs, here = [*REQUIREMENTS, *RUNTIME], current_interpreter()
    options = ["--no-index", "--find-links", str(WHEELS), "--cache-dir", str(home / "cache")]

    def install() -> None:
        pip("compile", "-", "--generate-hashes", *options, text="\n".join(needs))
        pip("install", "--target", str(root), "--link-mode", "copy", *options, *needs)

    def compile_all() -> None:
        sources = [file.path for file in files_below(root) if file.path.endswith(".py")]
        kept = [path for path in sources if "tests" not in path.split("/")]
        compile_sources(root, kept, f"/{ENVIRONMENT_ROOT}", here)

    def write() -> None:
        write_tree(LayerKind.ENVIRONMENT, tree, blobs, layers)
        runtime_layer(here, blobs, layers)
        with blobs.writer() as writer:
            for chunk in host_layer(host_files(), layers):
                writer.write(chunk)
            writer.commit()

    try:
        taken = {"install": timed(install)}
        (root / ".lock").unlink(missing_ok=True)
        shutil.rmtree(root / "bin", ignore_errors=True)
        return taken | {"byte-compile": timed(compile_all), "write layers": timed(write)}
    finally:
        shutil.rmtree(home, ignore_errors=True)


def pip(command: str, *arguments: str, text: str = "") -> None:
    """Run the package installer."""
    fixed = ["-q", "--no-config", "--only-binary", ":all:", "--python", sys.executable]
    subprocess.run(
        [uv.find_uv_bin(), "pip", command, *fixed, *arguments],
        input=text,
        text=True,
        check=True,
        stdout=subprocess.DEVNULL,
    )


def rebuild(yard: modelyard.Client, folder: Path) -> float:
    """Seconds that a build with new weights takes beyond its check start."""
    weights = folder / "weights.bin"
    weights.write_bytes(os.urandom(WEIGHTS))
    model = yard.models.register("bench", weights, sample_input=[[1]])
    began = time.perf_counter()
    image = yard.images.build("bench", models=[model.reference], script=folder / "score.py")
    took = time.perf_counter() - began
    check = image.check
    assert check is not None
    return took - check.cold_start - (check.scoring_time or 0.0)


def rebuilds(folder: Path) -> float:
    """The median of several, in one home."""
    (folder / "score.py").write_text(SCRIPT)
    with server(folder) as yard:
        rebuild(yard, folder)  # environment and base are made here, once
        return statistics.median(rebuild(yard, folder) for _ in range(ROUNDS))


def peer_size(folder: Path, packages: list[str]) -> int | None:
    """Bytes that a peer's container gets installed; None when no index has its packages."""
    target = folder / "peer"
    try:
        pip("install", "--compile-bytecode", "--target", str(target), *packages, *REQUIREMENTS)
        return sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    except subprocess.CalledProcessError:
        return None
    finally:
        shutil.rmtree(target, ignore_errors=True)


def figure(name: str, value: float, unit: str, goal: str | None = None) -> dict[str, Any]:
    """One figure."""
    return {"figure": name, "value": value, "unit": unit, "goal": goal}


def run() -> Iterator[dict[str, Any]]:
    """The figures."""
    with tempfile.TemporaryDirectory(prefix="my-") as name:
        folder = Path(name)
        yield from _first_builds(folder)
        yield from sizes(folder)
        added = rebuilds(folder)
        yield figure(
            "rebuild with 100 MB of new weights, beyond its check start", added, "s", "<= 1"
        )


def _first_builds(folder: Path) -> Iterator[dict[str, Any]]:
    ratios, tables = [], []
    for _ in range(FIRST_BUILDS):
        alone = parts(folder)
        took, check = first_build(folder)
        alone["check start"] = check
        ratios.append(took / sum(alone.values()))
        tables.append({"first build": took, **alone})
        print(json.dumps(tables[-1]), file=sys.stderr)
    for part in tables[0]:
        value = statistics.median(table[part] for table in tables)
        yield figure(f"scikit-learn image: {part}", value, "s")
    ratio = statistics.median(ratios)
    yield figure("scikit-learn image: first build over its parts", ratio, "ratio", "<= 1.2")
