"""The outputs that a request names are held against those of the method that it asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from tests.unit.runtime.frameworks.served import Asked, pickled

from modelyard_runtime.http.server import Headers, HttpError, Request, Response
from modelyard_runtime.protocols.inference import InferenceProtocol

ROW = [5.1, 3.5, 1.4, 0.2]
X = {"name": "input", "datatype": "FP64", "shape": [1, 4], "data": ROW}


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Asked:
    data, kinds = load_iris(return_X_y=True)
    folder: Path = tmp_path_factory.mktemp("model")
    return pickled(folder, LogisticRegression(max_iter=500).fit(data, kinds))


def answer(asked: Asked, **body: Any) -> Response:
    protocol = InferenceProtocol(asked.signature, {"model_name": "flowers"})
    text = orjson.dumps({"inputs": [X], **body})
    request = Request("POST", "/v2/models/flowers/infer", "", Headers([]), text)
    return protocol.encode(asked.entry.run(**protocol.decode(request)), request)


def outputs(response: Response) -> list[tuple[str, list[int]]]:
    assert response.status == 200, response.body
    found = orjson.loads(response.body)["outputs"]
    return [(output["name"], output["shape"]) for output in found]


@pytest.mark.parametrize("parameters", [{}, {"method": "predict_proba"}])
def test_an_output_of_another_method(asked: Asked, parameters: dict[str, str]) -> None:
    named = [{"name": "predict_proba"}]
    found = outputs(answer(asked, parameters=parameters, outputs=named))
    assert found == [("predict_proba", [1, 3])]


def test_the_first_method_needs_no_name(asked: Asked) -> None:
    assert outputs(answer(asked, outputs=[{"name": "predict"}])) == [("predict", [1])]
    assert outputs(answer(asked)) == [("predict", [1])]


def test_an_output_of_no_method_is_refused_before_scoring(asked: Asked) -> None:
    with pytest.raises(HttpError, match="Output `chance`: there is none; there is `predict`"):
        answer(asked, outputs=[{"name": "chance"}])


def test_an_output_that_the_method_does_not_have(asked: Asked) -> None:
    response = answer(asked, parameters={"method": "predict_proba"}, outputs=[{"name": "predict"}])
    assert response.status == 400
    assert b"there is `predict_proba`" in response.body


def test_an_unknown_method(asked: Asked) -> None:
    with pytest.raises(HttpError, match="`method` must be one of predict,"):
        answer(asked, parameters={"method": "chance"}, outputs=[{"name": "chance"}])
