"""The whole loop with the command line: train, register, build, deploy, score, update, clean up.

Runs in a home folder of its own, which it removes at the end.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import joblib
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

HERE = Path(__file__).parent


def modelyard(*words: str, fails: bool = False) -> str:
    """Run one command as a person would; show it and what it says."""
    print(f"\n$ modelyard {shlex.join(words)}", flush=True)
    done = subprocess.run(
        [sys.executable, "-m", "modelyard.cli", *words], stdout=subprocess.PIPE, text=True
    )
    print(done.stdout, end="", flush=True)
    if (done.returncode != 0) is not fails:
        sys.exit(f"expected {'a refusal' if fails else 'success'}, got exit {done.returncode}")
    return done.stdout


def post(uri: str, key: str, body: Any) -> Any:
    """Score as any HTTP client would."""
    request = urllib.request.Request(
        uri,
        json.dumps(body).encode(),
        {"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def accuracy(uri: str, key: str, images: Any, digits: Any) -> float:
    """Share of held-out images that the service reads rightly."""
    answers = [
        digit
        for i in range(0, len(images), 50)
        for digit in post(uri, key, images[i : i + 50].tolist())
    ]
    return sum(a == d for a, d in zip(answers, digits.tolist(), strict=True)) / len(answers)


def demo(folder: Path) -> None:
    """The loop."""
    images, digits = load_digits(return_X_y=True)
    train, held_out, train_digits, held_out_digits = train_test_split(
        images, digits, test_size=0.25, random_state=0
    )
    sample = json.dumps(held_out[:1].tolist())
    model_file = folder / "digits.joblib"

    print("Training a logistic regression on 1,347 images of digits.")
    model = LogisticRegression(max_iter=5000).fit(train, train_digits)
    joblib.dump(model, model_file)

    modelyard(
        "model",
        "register",
        "digits",
        str(model_file),
        "--tag",
        "stage=demo",
        "--framework",
        "scikit-learn",
        "--sample",
        sample,
    )
    modelyard(
        "image",
        "build",
        "digits",
        "--model",
        "digits:1",
        "--script",
        str(HERE / "score.py"),
        "--requirements",
        str(HERE / "requirements.txt"),
    )
    modelyard("service", "deploy", "digits", "--image", "digits:1", "--replicas", "2")

    service = json.loads(modelyard("service", "show", "digits", "-o", "json"))
    key = json.loads(
        subprocess.run(
            [
                sys.executable,
                "-m",
                "modelyard.cli",
                "service",
                "keys",
                "show",
                "digits",
                "-o",
                "json",
            ],
            stdout=subprocess.PIPE,
            check=True,
        ).stdout
    )["primary"]
    uri = service["scoring_uri"]
    served = accuracy(uri, key, held_out, held_out_digits)
    local = float(model.score(held_out, held_out_digits))
    print(f"\nAccuracy over HTTP {served:.4f}, in process {local:.4f}.")
    if served != local:
        sys.exit("the service does not answer what the model says")

    print("\nRetraining: a random forest takes its place, without a failed request.")
    forest = RandomForestClassifier(n_estimators=100, random_state=0).fit(train, train_digits)
    joblib.dump(forest, model_file)
    modelyard(
        "model",
        "register",
        "digits",
        str(model_file),
        "--tag",
        "stage=demo",
        "--framework",
        "scikit-learn",
        "--sample",
        sample,
    )
    modelyard(
        "image",
        "build",
        "digits",
        "--model",
        "digits:2",
        "--script",
        str(HERE / "score.py"),
        "--requirements",
        str(HERE / "requirements.txt"),
    )
    modelyard("service", "update", "digits", "--image", "digits:2")
    print(f"\nAccuracy of digits:2 over HTTP {accuracy(uri, key, held_out, held_out_digits):.4f}.")

    print("\nWhich services run digits:2? And may it be deleted?")
    modelyard("service", "list", "--model", "digits:2")
    modelyard("model", "delete", "digits:2", "--yes", fails=True)

    started = time.perf_counter()
    answer = post(uri, key, held_out[:8].tolist())
    took = (time.perf_counter() - started) * 1000

    print("\nCleaning up, in the order in which things need each other.")
    modelyard("service", "delete", "digits", "--yes")
    for version in ("digits:1", "digits:2"):
        modelyard("image", "delete", version, "--yes")
        modelyard("model", "delete", version, "--yes")
    print(
        f"\nThe service's last answer: {answer} (truth {held_out_digits[:8].tolist()}), "
        f"{took:.1f} ms."
    )


def main() -> None:
    """Run in a home folder and on ports of our own; stop everything at the end."""
    folder = Path(tempfile.mkdtemp(prefix="modelyard-demo-"))
    os.environ |= {
        "MODELYARD_HOME": str(folder / "home"),
        "MODELYARD_SERVER_PORT": "0",
        "MODELYARD_GATEWAY_PORT": "0",
    }
    try:
        demo(folder)
    finally:
        subprocess.run(
            [sys.executable, "-m", "modelyard.cli", "server", "stop", "--all"],
            stdout=subprocess.DEVNULL,
        )
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
