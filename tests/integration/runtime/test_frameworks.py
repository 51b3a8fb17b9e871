"""Models without a script, in real replicas: every protocol, several workers, joined requests."""

from __future__ import annotations

import json
import pickle
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import joblib
import lightgbm
import numpy as np
import pandas as pd
import psutil
import pytest
import sklearn
import xgboost
from skl2onnx import to_onnx
from sklearn.datasets import load_iris
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from tests.integration.runtime.replica import Replica
from tests.integration.runtime.served_model import serving
from tests.integration.runtime.wire import Answer, ask, request

FLOWERS = load_iris(as_frame=True)
DATA: pd.DataFrame = FLOWERS.data
ROWS: list[list[float]] = DATA.iloc[::5].to_numpy().tolist()
MODEL = LogisticRegression(max_iter=500).fit(DATA, FLOWERS.target_names[FLOWERS.target])


def post(replica: Replica, path: str, document: Any) -> Answer:
    body = json.dumps(document).encode()
    headers = {"content-type": "application/json"}
    return ask(replica.socket, request("POST", path, body, headers, close=True))


@pytest.fixture(scope="module")
def flowers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replica]:
    file = tmp_path_factory.mktemp("model") / "flowers.joblib"
    joblib.dump(MODEL, file)
    with serving(file, "joblib", "scikit-learn") as replica:
        yield replica


class TestScikitLearn:
    def test_scores_rows_and_records(self, flowers: Replica) -> None:
        expected = MODEL.predict(DATA.iloc[::5]).tolist()
        assert post(flowers, "/score", ROWS).json() == expected
        records = DATA.iloc[::5].to_dict("records")
        assert post(flowers, "/score", {"data": records}).json() == expected

    def test_scores_by_the_method_that_is_asked_for(self, flowers: Replica) -> None:
        expected = MODEL.predict_proba(DATA.iloc[::5]).tolist()
        assert post(flowers, "/score?method=predict_proba", ROWS).json() == expected
        asked = {"data": ROWS, "method": "predict_proba"}
        assert post(flowers, "/score", asked).json() == expected

    def test_scores_a_query(self, flowers: Replica) -> None:
        answer = flowers.get("/score?data=[[5.1,3.5,1.4,0.2]]")
        assert answer.json() == ["setosa"]

    def test_refuses_what_does_not_fit(self, flowers: Replica) -> None:
        answer = post(flowers, "/score", [[1, 2, 3]])
        assert (answer.status, answer.message) == (
            422,
            "Row 0 has 3 values; the model takes 4 features.",
        )

    def test_requests_that_wait_together_are_answered_as_if_alone(self, flowers: Replica) -> None:
        bodies: list[Any] = [[row] for row in ROWS] + [[[1, None, 3, 4]], [[1]], "x"]

        def score(body: Any) -> tuple[int, bytes]:
            answer = post(flowers, "/score?method=predict_proba", body)
            return answer.status, answer.body

        alone = [score(body) for body in bodies]
        with ThreadPoolExecutor(16) as clients:
            together = list(clients.map(score, bodies * 4))
        for (status, body), (expected_status, expected) in zip(together, alone * 4, strict=True):
            assert status == expected_status
            if status == 200:
                # A joined product is summed in another order: the last bit may differ.
                np.testing.assert_allclose(json.loads(body), json.loads(expected), rtol=1e-12)
            else:
                assert body == expected

    def test_describes_itself(self, flowers: Replica) -> None:
        document = flowers.get("/swagger.json?version=3").json()
        given = document["components"]["schemas"]["ServiceInput"]["properties"]
        assert given["data"]["items"]["required"] == list(DATA.columns)
        assert given["method"]["enum"][:2] == ["predict", "predict_proba"]

    def test_speaks_the_open_inference_protocol(self, flowers: Replica) -> None:
        metadata = flowers.get("/v2/models/flowers").json()
        assert metadata["inputs"] == [{"name": "input", "datatype": "FP64", "shape": [-1, 4]}]
        assert metadata["outputs"] == [{"name": "predict", "datatype": "BYTES", "shape": [-1]}]
        tensor = {"name": "x", "datatype": "FP64", "shape": [len(ROWS), 4], "data": ROWS}
        asked = {"inputs": [tensor], "parameters": {"method": "predict_proba"}}
        (output,) = post(flowers, "/v2/models/flowers/infer", asked).json()["outputs"]
        assert (output["name"], output["shape"]) == ("predict_proba", [len(ROWS), 3])
        assert output["data"] == MODEL.predict_proba(DATA.iloc[::5]).ravel().tolist()

    def test_speaks_mlflows_protocol(self, flowers: Replica) -> None:
        split = {"columns": list(DATA.columns)[::-1], "data": [row[::-1] for row in ROWS]}
        answer = post(flowers, "/invocations", {"dataframe_split": split})
        assert answer.json() == {"predictions": MODEL.predict(DATA.iloc[::5]).tolist()}


def test_a_model_with_threads_of_its_own_is_served_by_all_workers(tmp_path: Path) -> None:
    model = HistGradientBoostingClassifier(max_iter=3).fit(DATA, FLOWERS.target)
    joblib.dump(model, tmp_path / "m.joblib")
    holed = [[*ROWS[0][:3], None]]
    with serving(tmp_path / "m.joblib", "joblib", workers=3) as replica:
        expected = model.predict(DATA.iloc[::5]).tolist()
        answers = [post(replica, "/score", ROWS).json() for _ in range(12)]
        assert answers == [expected] * 12
        assert post(replica, "/score", holed).status == 200


class TestOnnx:
    @pytest.fixture(scope="class")
    @classmethod
    def file(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        file = tmp_path_factory.mktemp("model") / "flowers.onnx"
        converted = to_onnx(MODEL, DATA.to_numpy(dtype=np.float32)[:1])
        file.write_bytes(converted.SerializeToString())
        return file

    @pytest.mark.parametrize("threads", ["1", "2"])
    def test_scores(self, file: Path, threads: str) -> None:
        with serving(file, "onnx", environment={"OMP_NUM_THREADS": threads}) as replica:
            assert post(replica, "/score", ROWS).json() == MODEL.predict(DATA.iloc[::5]).tolist()
            scores = post(replica, "/score?method=predict_proba", ROWS).json()
            np.testing.assert_allclose(scores, MODEL.predict_proba(DATA.iloc[::5]), atol=1e-5)
            metadata = replica.get("/v2/models/flowers").json()
            assert metadata["inputs"] == [{"name": "X", "datatype": "FP32", "shape": [-1, 4]}]
            # With one thread a session leaves none behind: it is loaded once, and forked.
            forked = [psutil.Process(pid).ppid() != replica.process.pid for pid in replica.workers]
            assert forked == [threads == "1"] * 2


def test_xgboost(tmp_path: Path) -> None:
    model = xgboost.XGBClassifier(n_estimators=4).fit(DATA, FLOWERS.target)
    model.save_model(tmp_path / "m.ubj")
    with serving(tmp_path / "m.ubj", "xgboost", "xgboost") as replica:
        assert post(replica, "/score", ROWS).json() == model.predict(DATA.iloc[::5]).tolist()
        found = post(replica, "/score?method=predict_proba", ROWS).json()
        expected = model.predict_proba(DATA.iloc[::5])
        assert np.array_equal(np.array(found, dtype=np.float32), expected)


def test_lightgbm(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = lightgbm.LGBMClassifier(n_estimators=4, verbose=-1).fit(DATA, FLOWERS.target)
    model.booster_.save_model(tmp_path / "m.txt")
    with serving(tmp_path / "m.txt", "lightgbm", "lightgbm") as replica:
        expected = model.booster_.predict(DATA.iloc[::5])
        assert post(replica, "/score", ROWS).json() == expected.tolist()


class TestStart:
    def test_says_what_it_could_not_load(self, tmp_path: Path) -> None:
        (tmp_path / "m.onnx").write_bytes(b"no model")
        with serving(tmp_path / "m.onnx", "onnx", ready=False) as replica:
            cause = replica.status["cause"]
        assert cause["code"] == "model_not_loaded"
        assert "flowers:3" in cause["message"]
        assert "/models/" not in cause["message"]

    def test_says_that_a_script_is_needed(self, tmp_path: Path) -> None:
        (tmp_path / "weights.bin").write_bytes(b"\0")
        with serving(tmp_path / "weights.bin", "custom", ready=False) as replica:
            cause = replica.status["cause"]
        assert cause["code"] == "needs_script"
        assert "--script" in cause["fix"]

    def test_warns_of_another_version(self, tmp_path: Path) -> None:
        here = sklearn.__version__.encode()
        older = pickle.dumps(MODEL).replace(bytes([len(here)]) + here, b"\x051.2.0")
        (tmp_path / "m.pkl").write_bytes(older)
        with serving(tmp_path / "m.pkl", "pickle", "scikit-learn") as replica:
            log = replica.log.read_text()
        assert "saved by scikit-learn 1.2.0, and the image has" in log
