"""The check start: runs an image once, scores its sample, and says what was seen.

Called by `builder.ImageBuilder.check`. What goes wrong is one typed cause, found by `watch`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from ssl import PROTOCOL_TLS_CLIENT, SSLContext
from typing import NoReturn

import httpx2
from pydantic import JsonValue

from modelyard.domain.image import CheckReport, LayerKind, Manifest
from modelyard.domain.service import Network
from modelyard.images.launch import replica_config, runtime_command
from modelyard.images.sandbox.cell import Cell, KernelLimits
from modelyard.images.sandbox.choosing import host_sandbox
from modelyard.images.trial import Trial, trial_folder
from modelyard.images.watch import Limits, Watch
from modelyard.settings import Settings

WORKERS = 2
"""More than one, because a model that cannot be shared between processes shows only then."""

_CPU = 1.0
_LARGEST_ANSWER = 256 << 10
_LONGEST_SHOWN = 2000


def check_start(
    manifest: Manifest,
    layers: Mapping[LayerKind, Path],
    sample: JsonValue,
    network: Network,
    settings: Settings,
    log: Callable[[str, str], None],
) -> CheckReport:
    """Start an image, score the sample if there is one, and end it.

    Args:
        manifest: The image.
        layers: Folder of every unpacked layer.
        sample: Body of a scoring request, or None.
        network: What the image may reach.
        settings: Its limits on time and memory.
        log: Takes a line of output and the source `check`.

    Raises:
        BuildFailed: It did not get ready or did not score; `details["cause"]` says why.
    """
    limits = KernelLimits.of(settings.check_memory, WORKERS)
    sandbox = host_sandbox(settings.sandbox)
    with trial_folder() as folder, ThreadPoolExecutor(1) as requests:
        began = time.monotonic()
        trial = _start(manifest, Cell(sandbox, folder, layers, network, limits), settings)
        try:
            watch = Watch(trial, began + settings.check_timeout, Limits.of(settings), "check", log)
            watch.until_ready()
            cold_start = time.monotonic() - began
            seen = _look(watch, requests, sample)
            memory = trial.shared_memory()
        finally:
            trial.end()
            for line in trial.output():
                log(line, "check")
    return CheckReport(
        workers=WORKERS,
        cold_start=cold_start,
        memory=memory,
        sample=sample,
        answer=seen.answer,
        scoring_time=seen.scoring_time,
        openapi=seen.openapi,
        checked_at=datetime.now(UTC),
    )


def _start(manifest: Manifest, cell: Cell, settings: Settings) -> Trial:
    inside = cell.inside
    command, environment = runtime_command(manifest, inside.layers, _CPU, {}, inside.scratch)
    config = replica_config(
        manifest,
        inside.layers,
        service="check",
        workers=WORKERS,
        scoring_timeout=settings.check_timeout,
        drain_timeout=1.0,
        network=not cell.is_offline,
    )
    return Trial(cell, command, environment, config)


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes
    whole: bool
    """The body is not longer than what is kept of one."""
    took: float

    def json(self) -> JsonValue:
        """The body as JSON, or as text where it is none."""
        try:
            if self.whole:
                document: JsonValue = json.loads(self.body, parse_constant=_refuse_constant)
                json.dumps(document, ensure_ascii=False).encode()  # half a surrogate cannot be kept
                return document
        except (ValueError, RecursionError):
            pass
        return self.text()

    def text(self) -> str:
        return self.body[:_LONGEST_SHOWN].decode("utf-8", "backslashreplace").replace("\0", "\\0")


@dataclass(frozen=True, slots=True)
class _Seen:
    openapi: JsonValue
    answer: JsonValue = None
    scoring_time: float | None = None


def _look(watch: Watch, requests: ThreadPoolExecutor, sample: JsonValue) -> _Seen:
    with _client(watch.trial.socket) as client:

        def ask(method: str, path: str, body: JsonValue = None) -> _Answer:
            return watch.until_done(requests.submit(_request, client, method, path, body))

        description = ask("GET", "/swagger.json?version=3")
        openapi = description.json() if description.status == httpx2.codes.OK else None
        if sample is None:
            return _Seen(openapi)
        scored = ask("POST", "/score", sample)
        if not httpx2.codes.is_success(scored.status):
            raise watch.failed_sample(scored.status, scored.text())
        return _Seen(openapi, scored.json(), scored.took)


def _client(path: Path) -> httpx2.Client:
    # An empty TLS context: there is no TLS on this socket, and the usual one costs 40 ms.
    transport = httpx2.HTTPTransport(uds=str(path), verify=SSLContext(PROTOCOL_TLS_CLIENT))
    return httpx2.Client(
        transport=transport, base_url="http://image", timeout=None, trust_env=False
    )


def _request(client: httpx2.Client, method: str, path: str, body: JsonValue) -> _Answer:
    """One request, of whose answer no more is read than is kept."""
    content = None if body is None else json.dumps(body)
    headers = {"content-type": "application/json"} if body is not None else {}
    began = time.monotonic()
    with client.stream(method, path, content=content, headers=headers) as response:
        answer = b""
        for chunk in response.iter_raw():
            answer += chunk
            if len(answer) > _LARGEST_ANSWER:
                break
        took = time.monotonic() - began
        whole = len(answer) <= _LARGEST_ANSWER
        return _Answer(response.status_code, answer[:_LARGEST_ANSWER], whole, took)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
