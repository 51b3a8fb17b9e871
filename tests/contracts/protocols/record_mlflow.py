"""Records what MLflow's own scoring server answers to `mlflow_requests.json`.

Needs an environment with `mlflow` and `scikit-learn`, which no test has:
`python tests/contracts/protocols/record_mlflow.py`. Writes `mlflow_answers.json` beside it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import contextmanager, suppress
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
from sklearn.linear_model import LinearRegression, LogisticRegression

HERE = Path(__file__).parent
PORT = 28763
X = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
Y = X @ [2.0, -1.0] + 0.5


def models():
    frame = pd.DataFrame(X, columns=["a", "b"])
    named = LinearRegression().fit(frame, Y)
    yield "named", named, mlflow.models.infer_signature(frame, named.predict(frame))
    yield "plain", LinearRegression().fit(X, Y), None
    yield "text", LogisticRegression().fit(X, np.where(Y > 1, "high", "low")), None


@contextmanager
def serving(path):
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", path, "-p", str(PORT)]
    beside = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    server = subprocess.Popen(
        [*command, "--env-manager", "local"], start_new_session=True, env=os.environ | beside
    )
    try:
        while server.poll() is None:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{PORT}/ping")
                break
            except OSError:
                time.sleep(0.2)
        yield
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, 15)
        server.wait()


def ask(request):
    data = None
    if "type" in request:
        text = request.get("text") if "text" in request else json.dumps(request.get("body"))
        data = request["latin"].encode("latin-1") if "latin" in request else text.encode()
    headers = {"content-type": request["type"]} if "type" in request else {}
    asked = urllib.request.Request(
        f"http://127.0.0.1:{PORT}{request.get('path', '/invocations')}",
        data,
        headers,
        method=request.get("method", "POST"),
    )
    try:
        with urllib.request.urlopen(asked) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def answer_of(status, body):
    """The whole body of a success, and only the code of an error: its text is MLflow's own."""
    if status == 200:
        return {"status": status, "body": json.loads(body) if body.strip() else body.decode()}
    try:
        return {"status": status, "error_code": json.loads(body)["error_code"]}
    except (ValueError, KeyError):
        return {"status": status}


def main():
    requests = json.loads((HERE / "mlflow_requests.json").read_text())
    answers = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, model, signature in models():
            path = f"{folder}/{name}"
            mlflow.sklearn.save_model(model, path, signature=signature)
            with serving(path):
                for request in requests:
                    if request.get("model", "named") == name:
                        answers[request["case"]] = answer_of(*ask(request))
    recorded = {"mlflow": mlflow.__version__, "answers": answers}
    (HERE / "mlflow_answers.json").write_text(json.dumps(recorded, indent=1) + "\n")


if __name__ == "__main__":
    main()
