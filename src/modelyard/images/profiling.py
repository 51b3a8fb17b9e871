"""Profiles images: starts one like a replica, sends the sample at rising concurrency, and measures.

Called by `control.profiles`. What follows from the figures is `domain.profile`.
"""

from __future__ import annotations

import base64
import json
import math
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from pydantic import JsonValue

from modelyard.domain.image import LayerKind, Manifest
from modelyard.domain.profile import (
    Goal,
    Level,
    Machine,
    Profile,
    doubts,
    milliseconds,
    next_concurrency,
    recommend,
)
from modelyard.domain.service import ReplicaSettings
from modelyard.errors import OperationFailed
from modelyard.images.starting import started
from modelyard.images.trial import Trial, trial_folder
from modelyard.images.watch import Limits
from modelyard.schemas import ProfileImage
from modelyard.settings import Settings

Log = Callable[[str, str], None]

_PURPOSE = "profile"
_WARM_UP = 0.3
_ANSWERS = 20
"""At least so many make a level, if they come within `_LONGEST` times its length."""
_LONGEST = 5
_PATIENCE = 30.0 + ReplicaSettings().scoring_timeout
"""Seconds more than a level should take after which something counts as hung."""


def profile_image(
    image: str,
    manifest: Manifest,
    layers: Mapping[LayerKind, Path],
    sample: JsonValue,
    request: ProfileImage,
    settings: Settings,
    log: Log,
) -> Profile:
    """Start an image and measure it; whatever happens, what was started is ended.

    Args:
        image: `name:version`.
        manifest: The image.
        layers: Folder of every unpacked layer.
        sample: Body of the scoring request.
        request: What is to be measured, and the goal.
        settings: KernelLimits on the time to start and on memory.
        log: Takes a line and its source.

    Raises:
        BuildFailed: The image did not start, or did not score the sample;
            `details["cause"]` says why.
        Cancelled: It is not wanted any longer.
    """
    goal = Goal(latency=request.latency, rate=request.rate)
    levels = _measure(manifest, layers, sample, request, goal, settings, log)
    machine = _machine(request.cpu)
    for doubt in doubts(machine, levels):
        log(f"note: {doubt}", _PURPOSE)
    recommendation = recommend(levels, goal, request.cpu, machine.cores)
    log(recommendation.reason, _PURPOSE)
    return Profile(
        image=image,
        digest=manifest.digest,
        cpu=request.cpu,
        workers=_replica(request).workers,
        goal=goal,
        machine=machine,
        levels=tuple(levels),
        recommendation=recommendation,
        measured_at=datetime.now(UTC),
    )


def _measure(
    manifest: Manifest,
    layers: Mapping[LayerKind, Path],
    sample: JsonValue,
    request: ProfileImage,
    goal: Goal,
    settings: Settings,
    log: Log,
) -> list[Level]:
    """Raise the concurrency of one replica until it is known what is asked."""
    replica = _replica(request)
    log(f"starting one replica, workers: {replica.workers}", _PURPOSE)
    levels: list[Level] = []
    with (
        # From the last to the first: a step ends with the load generator that it waits for.
        ThreadPoolExecutor(1) as executor,
        trial_folder() as folder,
        started(
            manifest, layers, folder, replica, Limits.of(settings), settings, _PURPOSE, log
        ) as watch,
        _load_generator(watch.trial.socket, sample) as generator,
    ):
        while (wanted := next_concurrency(levels, goal, request.max_concurrency)) is not None:
            watch.deadline = time.monotonic() + _PATIENCE + _LONGEST * request.duration
            step = executor.submit(generator.measure, watch.trial, wanted, request.duration)
            level = watch.until_done(step)
            if not level.answered:
                raise watch.failed_sample(*generator.failure)
            levels.append(level)
            log(_line(level), _PURPOSE)
    return levels


class _LoadGenerator:
    """The process that sends requests, and what it says."""

    def __init__(self, process: subprocess.Popen[bytes], socket: Path, request: bytes) -> None:
        self.failure = (0, "")
        """Status and body of the first bad answer."""
        self._process = process
        self._say(socket=str(socket), request=base64.b64encode(request).decode())

    def measure(self, trial: Trial, concurrency: int, seconds: float) -> Level:
        """Keep so many requests in flight for a while."""
        self._say(
            concurrency=concurrency,
            warm_up=_WARM_UP,
            seconds=seconds,
            most_seconds=_LONGEST * seconds,
            answers=_ANSWERS,
        )
        self._hear()
        before = _Usage.of(trial)
        heard = self._hear()
        used = _Usage.of(trial).since(before)
        self.failure = heard["failure"] or self.failure
        return _level(concurrency, heard, used, trial.shared_memory())

    def _say(self, **values: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(values).encode() + b"\n")
        self._process.stdin.flush()

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise OperationFailed("the load generator ended", hint="profile it again")
        heard: dict[str, Any] = json.loads(line)
        return heard


@contextmanager
def _load_generator(socket: Path, sample: JsonValue) -> Iterator[_LoadGenerator]:
    command = [sys.executable, "-m", "modelyard.images.load"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield _LoadGenerator(process, socket, _http_request(sample))
        finally:
            process.kill()


def _http_request(sample: JsonValue) -> bytes:
    body = json.dumps(sample).encode()
    head = (
        "POST /score HTTP/1.1\r\nHost: image\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class _Usage(NamedTuple):
    """CPU seconds used up to a moment."""

    replica: float
    machine: float

    @classmethod
    def of(cls, trial: Trial) -> _Usage:
        times = psutil.cpu_times()
        idle = times.idle + getattr(times, "iowait", 0.0)
        # Guests are counted in `user` as well.
        guests = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
        return cls(trial.cpu_seconds(), sum(times) - guests - idle)

    def since(self, before: _Usage) -> _Usage:
        return _Usage(self.replica - before.replica, self.machine - before.machine)


def _level(concurrency: int, heard: Mapping[str, Any], used: _Usage, memory: int) -> Level:
    seconds, answered = heard["ended"], heard["answered"]
    others = used.machine - used.replica - heard["cpu"]
    return Level(
        concurrency=concurrency,
        answered=answered,
        errors=heard["errors"],
        seconds=seconds,
        p50=heard["p50"],
        p95=heard["p95"],
        p99=heard["p99"],
        cpu=used.replica / max(answered + heard["errors"], 1),
        memory=memory,
        generator=heard["cpu"] / seconds,
        others=max(others / seconds, 0.0),
    )


def _machine(cpu: float) -> Machine:
    cores = psutil.cpu_count() or 1
    return Machine(
        cores=cores,
        platform=f"{platform.system()} {platform.machine()}",
        shared=cores < math.ceil(cpu) + 1,
    )


def _replica(request: ProfileImage) -> ReplicaSettings:
    return ReplicaSettings(cpu=request.cpu, network=request.network)


def _line(level: Level) -> str:
    failed = f", {level.errors} failed" if level.errors else ""
    return (
        f"{level.concurrency} in flight: {level.rate:.0f}/s, half within "
        f"{milliseconds(level.p50)}, 95 % within {milliseconds(level.p95)}{failed}"
    )
