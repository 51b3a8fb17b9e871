"""The programs on the page about protocols work."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tests.integration.runtime.replica import PACKAGES

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "protocols.md"
CLIENT, LAUNCHER = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
SCRIPT = "def run(rows: list[list[float]]) -> list[float]:\n    return list(map(sum, rows))\n"


def wait_until_ready(address: str) -> None:
    deadline = time.monotonic() + 20
    with triton_http.InferenceServerClient(address) as client:
        while not client.is_server_ready():
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_the_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "score.py").write_text(SCRIPT)
    (tmp_path / "launch.py").write_text(LAUNCHER)
    with subprocess.Popen(
        [sys.executable, "launch.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(PACKAGES)},
        stdout=subprocess.PIPE,
        text=True,
    ) as replica:
        assert replica.stdout is not None
        http, grpc = replica.stdout.readline().split()
        try:
            exec(CLIENT.replace("127.0.0.1:8000/services/flowers", f"127.0.0.1:{http}"), {})
            assert capsys.readouterr().out == "[3. 7.]\n"
            wait_until_ready(f"127.0.0.1:{http}")
            with triton_grpc.InferenceServerClient(f"127.0.0.1:{grpc}") as client:
                rows = triton_grpc.InferInput("rows", [1, 2], "FP64")
                rows.set_data_from_numpy(np.array([[1.0, 2.0]]))
                assert client.infer("flowers", [rows]).as_numpy("output") == [3.0]
        finally:
            replica.terminate()
    assert replica.returncode == 0


def test_the_address_may_be_below_a_path() -> None:
    client = triton_http.InferenceServerClient("127.0.0.1:1/services/flowers")
    assert client._base_uri == "/services/flowers"
    client.close()
