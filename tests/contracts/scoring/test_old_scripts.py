"""Scripts as their authors wrote them in 2018 and 2019, with a real model, in a real replica."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import joblib
import pytest
from sklearn.linear_model import LinearRegression
from tests.contracts.scoring.cases import get, post
from tests.contracts.scoring.client import ask
from tests.integration.runtime.replica import Replica

OLD = Path(__file__).with_name("old")
MODELS = ({"name": "diabetes", "version": "3", "path": "diabetes/3"},)
MORE = (*MODELS, *({"name": "second", "version": v, "path": f"second/{v}"} for v in ("1", "2")))

Serve = Callable[..., Replica]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """A replica of an old script, with its models and the files beside it."""
    started: list[Replica] = []

    def serve(script: str, models: Any = MODELS, **files: str) -> Replica:
        root = tmp_path / "models"
        for model in models:
            folder = root / model["name"] / model["version"]
            folder.mkdir(parents=True)
            if model["name"] == "diabetes":
                fitted = LinearRegression().fit([[0, 0], [1, 0], [0, 1]], [0, 1, 10])
                joblib.dump(fitted, folder / "diabetes.pkl")
            else:
                (folder / "model.txt").write_text(f"version {model['version']}")
        settings = {"models_root": str(root), "models": list(models), "workers": 1}
        replica = Replica((OLD / f"{script}.py").read_text(), **settings)
        started.append(replica)
        for name, text in files.items():
            path = replica.folder / "code" / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        replica.start()
        replica.wait_until_ready()
        return replica

    yield serve
    for replica in started:
        replica.stop()


def answer_of(replica: Replica, body: Any) -> Any:
    answer = ask(replica.socket, post(body))
    assert answer["status"] == 200, answer
    return json.loads(answer["body"])


def test_a_notebook_of_2018(serve: Serve) -> None:
    replica = serve("diabetes_2018")
    answer = answer_of(replica, {"data": [[1, 2], [2, 0]]})  # JSON in JSON, as it always was
    assert json.loads(answer)["result"] == pytest.approx([21, 2])
    assert json.loads(answer_of(replica, {"data": [["x", 1]]})).keys() == {"error"}
    log = replica.log.read_text()
    assert "collected 2\n" in log
    assert "stored with requests that are captured" in log


def test_a_template_of_2019(serve: Serve) -> None:
    replica = serve("split_2019")
    assert answer_of(replica, {"data": [[1, 2]]})["result"] == pytest.approx([21])
    swagger = json.loads(ask(replica.socket, get(path="/swagger.json"))["body"])
    given = swagger["definitions"]["ServiceInput"]
    assert given["properties"]["data"]["format"] == "numpy.ndarray"
    assert given["example"]["data"] == [[0.9, 1.05], [0.1, 2.5]]


def test_several_models(serve: Serve) -> None:
    found = json.loads(answer_of(serve("two_models", MORE), {}))
    assert found == {
        "first": "diabetes/3/diabetes.pkl",
        "second": "second/2/model.txt",
        "text": "version 1",
        "all": ["diabetes/3/diabetes.pkl", "second/1/model.txt", "second/2/model.txt"],
    }


def test_a_schema_file(serve: Serve, tmp_path: Path) -> None:
    made = tmp_path / "made"
    made.mkdir()
    generate = (
        "import sys; from modelyard_runtime import compat; compat.install('', []);"
        f"import runpy; runpy.run_path({str(OLD / 'schema_2018.py')!r}, run_name='__main__')"
    )
    subprocess.run([sys.executable, "-c", generate], cwd=made, check=True)
    schema = (made / "outputs" / "service_schema.json").read_text()
    replica = serve("schema_2018", **{"outputs/service_schema.json": schema})
    assert (
        json.loads(answer_of(replica, {"input_df": [{"a": 1, "b": 2}, {"a": 3, "b": 4}]})) == "4.0"
    )
    refused = ask(replica.socket, post({"input_df": [{"a": "x", "b": 1}]}))
    assert refused["status"] == 400
    assert "input_df" in refused["body"]


def test_surroundings(serve: Serve) -> None:
    beside = "TEXT = open(__file__).read()\n"
    assert answer_of(serve("surroundings", **{"beside.py": beside}), {}) == {
        "beside": True,
        "script": True,
        "service": "flowers",
        "path": True,
    }
