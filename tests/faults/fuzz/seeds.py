"""The inputs that exploring begins with: right requests of every protocol, and malformed ones."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from tests.unit.runtime.malformed import MALFORMED

_TENSOR = {"name": "flowers", "shape": [2], "datatype": "FP32", "data": [1.5, 2]}
_FRAME = {"columns": ["petals", "length"], "data": [[3, 1.5], [4, 2.5]]}
_BODIES = [
    ("/score", "application/json", [{"petals": 3, "length": 1.5, "name": "a"}]),
    ("/score", "application/json", [{"petals": "three", "length": None}]),
    ("/score", "text/plain", {"a": [1, "x", None, True, 2.5]}),
    ("/v2/models/flowers/infer", "application/json", {"id": "1", "inputs": [_TENSOR]}),
    (
        "/v2/models/flowers/infer",
        "application/json",
        {"inputs": [{**_TENSOR, "datatype": "BYTES", "data": ["a", "b"]}]},
    ),
    ("/invocations", "application/json", {"dataframe_split": _FRAME}),
    ("/invocations", "application/json", {"dataframe_records": [{"petals": 3, "length": 1.5}]}),
    ("/invocations", "application/json", {"instances": [[1, 2]], "params": {"a": 1}}),
    ("/invocations", "application/json", {"inputs": {"petals": [1, 2], "length": [0.5, 1]}}),
]
_HOSTILE = [
    b"[" * 3000,
    b'{"a":' * 1000,
    b"9" * 5000,
    b'"\\ud800"',
    b'"\xff"',
    b"[NaN, Infinity, -Infinity, 1e999]",
    b'{"a": 1, "a": 2}',
    b"",
    b'[{"petals": 1e400}]',
]
_GET = ("/", "/livez", "/readyz", "/score?a=1&a=x&b=%7B%7D", "/v2", "/v2/health/ready", "/ping")


def request(path: str, kind: str, body: bytes, *fields: bytes) -> bytes:
    """One right request."""
    lines = [b"POST %b HTTP/1.1" % path.encode(), b"Host: here", b"Content-Type: " + kind.encode()]
    lines += [*fields, b"Content-Length: %d" % len(body)]
    return b"\r\n".join([*lines, b"", body])


def seeds() -> list[bytes]:
    """Connections as they are sent; each is to be tried with every script."""
    bodies = [(path, kind, json.dumps(body).encode()) for path, kind, body in _BODIES]
    sent = [request(*one) for one in bodies]
    sent += [
        request(path, kind, gzip.compress(body, mtime=0), b"Content-Encoding: gzip")
        for path, kind, body in bodies[:1]
    ]
    for path in ("/score", "/v2/models/flowers/infer", "/invocations"):
        sent += [request(path, "application/json", body) for body in _HOSTILE]
    sent.append(request("/invocations", "text/csv", b"petals,length\n3,1.5\n"))
    raw = json.dumps({"inputs": [{
        "name": "flowers", "shape": [2], "datatype": "INT8",
        "parameters": {"binary_data_size": 2},
    }]}).encode()  # fmt: skip
    length = b"Inference-Header-Content-Length: %d" % len(raw)
    binary = request("/v2/models/flowers/infer", "application/octet-stream", raw + b"ab", length)
    sent += [binary, sent[0] + binary + sent[2]]
    sent += [b"GET %b HTTP/1.1\r\nHost: here\r\n\r\n" % path.encode() for path in _GET]
    return [*sent, *MALFORMED]


def write_seeds(folder: Path) -> None:
    """One file for each, with a first byte as `target.check` takes it."""
    for number, sent in enumerate(seeds()):
        for script in range(3):
            (folder / f"{number}-{script}").write_bytes(bytes([script]) + sent)
