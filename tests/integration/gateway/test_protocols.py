"""Clients of other protocols reach a replica through the gateway, with a key, below a path."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from http.client import HTTPConnection

import numpy as np
import pytest
import tritonclient.http as triton
from tests.integration.gateway.kit import BEARER, ROUTE, Stage
from tests.integration.gateway.process import GatewayProcess
from tests.integration.runtime.replica import replica
from tritonclient.utils import InferenceServerException

from modelyard.agent.gateway.config import Upstream

SCRIPT = """
import numpy as np

def run(x: np.ndarray) -> np.ndarray:
    return x.sum(axis=1)
"""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    stage = Stage()
    with (
        replica(SCRIPT, workers=1, max_body=4 << 20) as served,
        GatewayProcess(stage.folder) as gateway,
    ):
        upstream = Upstream(served.socket, "d", 100, "r")
        gateway.configure(replace(ROUTE, upstreams=(upstream,)))
        yield gateway.url().removeprefix("http://")
    shutil.rmtree(stage.folder)


def test_binary_tensors(address: str) -> None:
    rows = np.arange(1 << 17, dtype=np.float64).reshape(-1, 2)
    x = triton.InferInput("x", list(rows.shape), "FP64")
    x.set_data_from_numpy(rows)
    with triton.InferenceServerClient(f"{address}/services/digits") as client:
        assert client.is_server_ready(headers=dict(BEARER))
        answer = client.infer("flowers", [x], headers=dict(BEARER))
        with pytest.raises(InferenceServerException) as caught:
            client.infer("flowers", [x])
    np.testing.assert_array_equal(answer.as_numpy("output"), rows.sum(axis=1))
    assert caught.value.status() == "401"


def test_a_table(address: str) -> None:
    connection = HTTPConnection(address, timeout=20)
    headers = {**BEARER, "content-type": "application/json; charset=utf-8"}
    body = json.dumps({"dataframe_split": {"columns": ["a", "b"], "data": [[1.5, 2.0]]}})
    connection.request("POST", "/services/digits/invocations", body, headers)
    response = connection.getresponse()
    assert (response.status, json.loads(response.read())) == (200, {"predictions": [3.5]})
    connection.close()
