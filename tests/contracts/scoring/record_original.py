"""Records what the original answers: `python -m tests.contracts.scoring.record_original`.

To be run with the Python of an environment that has `azureml-inference-server-http==1.5.1`, numpy
and pandas; it starts that server for every script, on a free port, and writes `recorded.json`.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from typing import Any

from tests.contracts.scoring.cases import RECORDED, SCRIPTS, TABLE, Case, Script
from tests.contracts.scoring.client import PATIENCE, ask


def main() -> None:
    """Record every script."""
    answers = {name: _record(name, script) for name, script in TABLE.items()}
    RECORDED.write_text(json.dumps(answers, indent=1, ensure_ascii=False) + "\n")


def _record(name: str, script: Script) -> dict[str, Any]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    path = SCRIPTS / f"{script.file or name}.py"
    server = subprocess.Popen(
        [sys.executable, "-m", "azureml_inference_server_http", "--entry_script", str(path),
         "--port", str(port)],
        cwd=SCRIPTS,
        env={**os.environ, **script.environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        _wait(port)
        return {title: ask(port, case) for title, case in script.cases.items()}
    finally:
        server.terminate()
        server.wait(PATIENCE)


def _wait(port: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            ask(port, Case("GET", "/"))
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


if __name__ == "__main__":
    main()
