"""A real S3 server on loopback."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import obstore
import pytest
from obstore.exceptions import BaseError
from obstore.store import S3Store

KEY, SECRET = "canary-access-key", "canary-secret-key"
_PATIENCE = 90.0
_PORTS = ("master", "volume", "filer", "s3")


class StoreServer:
    """SeaweedFS, with its files in a folder; may be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "data").mkdir()
        identity = {
            "name": "captures",
            "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
            "actions": ["Admin", "Read", "Write", "List"],
        }
        (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
        self._ports = free_ports(2 * len(_PORTS))
        self.url = f"http://127.0.0.1:{self._ports[2 * _PORTS.index('s3')]}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def variables(self) -> dict[str, str]:
        """What a server that uses it has in its environment."""
        return {
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_ENDPOINT_URL": self.url,
            "AWS_REGION": "us-east-1",
        }

    def start(self) -> None:
        """Return once it takes and gives files."""
        ports = [
            f"-{part}.port{kind}={self._ports[2 * place + number]}"
            for place, part in enumerate(_PORTS)
            for number, kind in enumerate(("", ".grpc"))
        ]
        command = [
            *(str(Path(sys.executable).with_name("weed")), "server", "-filer", "-s3"),
            *("-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={self.folder / 'data'}", *ports),
            *(f"-s3.config={self.folder / 's3.json'}", "-s3.port.iceberg=0", "-s3.port.lance=0"),
            *("-s3.iam=false", "-volume.max=8", "-master.volumeSizeLimitMB=64"),
            "-master.telemetry=false",
        ]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + _PATIENCE
        while not self._answers():
            if time.monotonic() > deadline or self._process.poll() is not None:
                pytest.fail((self.folder / "log").read_text(errors="replace")[-2000:])
            time.sleep(0.2)

    def _answers(self) -> bool:
        try:
            obstore.put(self.store("started"), "here", b"here")
        except BaseError:
            return False
        return True

    def store(self, bucket: str) -> S3Store:
        """A client of its own, which tries once."""
        return S3Store(
            bucket,
            endpoint=self.url,
            access_key_id=KEY,
            secret_access_key=SECRET,
            client_options={"allow_http": True, "timeout": "10s"},
            retry_config={"max_retries": 0},
        )

    def kill(self) -> None:
        """End it as a power cut would; no error when it is not running."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


def environment_of(server: StoreServer, patch: pytest.MonkeyPatch) -> None:
    """Have this process reach it, and no cloud."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "AZURE_"))]:
        patch.delenv(name)
    for name, value in server.variables.items():
        patch.setenv(name, value)
