"""From the request to deploy a built image to its first answer, beside the least that could be.

The floor is one bare Python process that imports scikit-learn, loads the same model and scores the
same row. Both have their files in the page cache.
"""

from __future__ import annotations

import pickle
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

import modelyard
from bench.gateway.product import product

ROUNDS = 7
SCRIPT = """
import os, pickle
def init():
    global model
    model = pickle.load(open(os.environ["MODELYARD_MODEL_DIR"] + "/model.pkl", "rb"))
def run(rows: list):
    return model.predict(rows).tolist()
"""
BARE = """
import pickle, sys, json
import sklearn
model = pickle.load(open(sys.argv[1], "rb"))
print(model.predict(json.loads(sys.argv[2])).tolist())
"""


def bare(model: Path, row: str) -> float:
    """Seconds of the floor: start Python, import, load, score once."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", BARE, str(model), row], check=True, capture_output=True)
    return time.perf_counter() - began


def deploy(yard: modelyard.Client, image: str, rows: list[Any]) -> float:
    """Seconds from the request to deploy until the first answer over HTTP."""
    began = time.perf_counter()
    yard.services.deploy("bench", image)
    yard.services.score("bench", rows)
    took = time.perf_counter() - began
    yard.services.delete("bench")
    return took


def run() -> Iterator[dict[str, Any]]:
    """The figures."""
    images, digits = load_digits(return_X_y=True)
    rows = images[:1].tolist()
    with tempfile.TemporaryDirectory(prefix="my-") as name, product() as started:
        folder, yard = Path(name), started.yard
        model = folder / "model.pkl"
        model.write_bytes(pickle.dumps(LogisticRegression(max_iter=5000).fit(images, digits)))
        script = folder / "score.py"
        script.write_text(SCRIPT)
        yard.models.register("bench", model, sample_input=rows)
        image = yard.images.build(
            "bench", models=["bench"], script=script, requirements=["scikit-learn"]
        )
        yield from figures(yard, image.reference, model, rows)


def figures(
    yard: modelyard.Client, image: str, model: Path, rows: list[Any]
) -> Iterator[dict[str, Any]]:
    """Pairs of floor and ours, in turn, because the machine's speed drifts."""
    pairs = [(bare(model, str(rows)), deploy(yard, image, rows)) for _ in range(ROUNDS)]
    ours, floor = (statistics.median(pair[i] for pair in pairs) for i in (1, 0))
    ratio = statistics.median(pair[1] / pair[0] for pair in pairs)
    yield {"figure": "deploy to first answer", "value": ours, "unit": "s", "goal": ""}
    yield {"figure": "bare import, load, score", "value": floor, "unit": "s", "goal": ""}
    yield {
        "figure": "deploy to first answer, over bare Python",
        "value": ratio,
        "unit": "ratio",
        "goal": "<= 1.5",
    }
