"""The check start: runs an image once, scores its sample, and says what was seen.

Called by `builder.ImageBuilder.check`. What goes wrong is one typed cause: the replica's own where
it recorded one, else what shows from outside (time, memory, exit status).
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from ssl import PROTOCOL_TLS_CLIENT, SSLContext
from typing import Any, NoReturn

import httpx2
from pydantic import JsonValue, ValidationError

from modelyard.domain.cause import Cause, CauseCode
from modelyard.domain.image import CheckReport, LayerKind, Manifest
from modelyard.errors import BuildFailed
from modelyard.images.failures import build_failed
from modelyard.images.launch import replica_config, runtime_command
from modelyard.images.trial import Trial, scratch_of, trial_folder
from modelyard.settings import Settings

WORKERS = 2
"""More than one, because a model that cannot be shared between processes shows only then."""

_CPU = 1.0
_LARGEST_ANSWER = 256 << 10
_LONGEST_SHOWN = 2000
_POLL = 0.01
_POLLS_PER_MEASUREMENT = 10
_REPORT_DELAY = 2.0
"""Seconds that the replica gets to record why a sample failed, after it answered."""
_NEARLY = 0.9
"""Of the memory limit: a kill from outside at this point was for lack of memory."""


def check_start(
    manifest: Manifest,
    layers: Mapping[LayerKind, Path],
    sample: JsonValue,
    settings: Settings,
    log: Callable[[str, str], None],
) -> CheckReport:
    """Start an image, score the sample if there is one, and end it.

    Args:
        manifest: The image.
        layers: Folder of every unpacked layer.
        sample: Body of a scoring request, or None.
        settings: Its limits on time and memory.
        log: Takes a line of output and the source `check`.

    Raises:
        BuildFailed: It did not get ready or did not score; `details["cause"]` says why.
    """
    with trial_folder() as folder, ThreadPoolExecutor(1) as requests:
        began = time.monotonic()
        trial = _start(manifest, layers, folder, settings)
        try:
            watch = _Watch(trial, began + settings.check_timeout, settings, log)
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


def _start(
    manifest: Manifest, layers: Mapping[LayerKind, Path], folder: Path, settings: Settings
) -> Trial:
    command, environment = runtime_command(manifest, layers, _CPU, {}, scratch_of(folder))
    config = replica_config(
        manifest,
        layers,
        service="check",
        workers=WORKERS,
        scoring_timeout=settings.check_timeout,
        drain_timeout=1.0,
    )
    return Trial(folder, command, environment, config)


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


def _look(watch: _Watch, requests: ThreadPoolExecutor, sample: JsonValue) -> _Seen:
    with _client(watch.trial.socket) as client:

        def ask(method: str, path: str, body: JsonValue = None) -> _Answer:
            return watch.until_done(requests.submit(_request, client, method, path, body))

        description = ask("GET", "/swagger.json?version=3")
        openapi = description.json() if description.status == httpx2.codes.OK else None
        if sample is None:
            return _Seen(openapi)
        scored = ask("POST", "/score", sample)
        if not httpx2.codes.is_success(scored.status):
            raise build_failed(_sample_failed(watch.last_failure(), scored))
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


class _Watch:
    """Waits for a trial while it keeps to its limits, and passes its output on."""

    def __init__(
        self,
        trial: Trial,
        deadline: float,
        settings: Settings,
        log: Callable[[str, str], None],
    ) -> None:
        self.trial = trial
        self._deadline = deadline
        self._settings = settings
        self._log = log
        self._polls = 0
        self._memory = 0

    def until_ready(self) -> None:
        """Wait until every worker is ready.

        Raises:
            BuildFailed: It failed, ended, or passed a limit before.
        """
        while (phase := self.trial.status().get("phase")) != "ready":
            self._step()
            if phase == "failed":
                self._raise_own_cause()

    def until_done(self, answer: Future[_Answer]) -> _Answer:
        """Wait for an answer.

        Raises:
            BuildFailed: The replica ended or passed a limit before, or broke the connection.
        """
        while not answer.done():
            self._step()
        try:
            return answer.result()
        except httpx2.HTTPError as error:
            self._step()
            raise build_failed(_connection_broke(str(error), self._evidence())) from error

    def last_failure(self) -> Cause | None:
        """Why scoring failed, as the replica recorded it."""
        give_up = min(self._deadline, time.monotonic() + _REPORT_DELAY)
        while time.monotonic() < give_up:
            if (cause := _cause(self.trial.status().get("last_failure"))) is not None:
                return cause
            self._step()
        return None

    def _step(self) -> None:
        """Let a moment pass and look at everything but the awaited thing itself."""
        time.sleep(_POLL)
        self._pass_output_on()
        if self.trial.has_exited():
            self._raise_ended()
        if self._polls % _POLLS_PER_MEASUREMENT == 0:
            self._measure()
        self._polls += 1
        if time.monotonic() > self._deadline:
            self._raise_hung()

    def _measure(self) -> None:
        self._memory = self.trial.memory(self._settings.check_memory)
        if self._memory > self._settings.check_memory:
            raise build_failed(_out_of_memory(self._memory, self._settings, self._evidence()))

    def _raise_own_cause(self) -> NoReturn:
        cause = _cause(self.trial.status().get("cause"))
        raise build_failed(cause) if cause is not None else self._ended(self.trial.end())

    def _raise_ended(self) -> NoReturn:
        status = self.trial.end()
        self._pass_output_on()
        if self.trial.status().get("phase") == "failed":
            self._raise_own_cause()
        raise self._ended(status)

    def _ended(self, status: int) -> BuildFailed:
        limit = self._settings.check_memory
        if status == -signal.SIGKILL and self._memory > _NEARLY * limit:
            return build_failed(_out_of_memory(self._memory, self._settings, self._evidence()))
        return build_failed(_exited(status, self._evidence()))

    def _raise_hung(self) -> NoReturn:
        phase = str(self.trial.status().get("phase", "starting"))
        self.trial.show_where_it_is()
        self.trial.end()
        raise build_failed(_hung(phase, self._settings.check_timeout, self._evidence()))

    def _pass_output_on(self) -> None:
        for line in self.trial.output():
            self._log(line, "check")

    def _evidence(self) -> tuple[str, ...]:
        return tuple(self.trial.tail)


def _cause(document: Any) -> Cause | None:
    try:
        return Cause.model_validate(document) if document is not None else None
    except ValidationError:
        return None


def _sample_failed(recorded: Cause | None, answer: _Answer) -> Cause:
    seen = f"status {answer.status}: {answer.text()}"
    if recorded is not None:
        return recorded.model_copy(update={"evidence": (*recorded.evidence, seen)})
    return Cause(
        code=CauseCode.SAMPLE_FAILED,
        message=f"The sample input was answered with status {answer.status}.",
        evidence=(seen,),
        fix="Correct `run()`, or give a sample that it can score.",
    )


def _connection_broke(error: str, tail: tuple[str, ...]) -> Cause:
    return Cause(
        code=CauseCode.SAMPLE_FAILED,
        message="The worker that scored the sample input ended without an answer.",
        evidence=(error, *tail),
        fix="A compiled library crashed, or `run()` ended the process; the last lines say where.",
    )


def _out_of_memory(used: int, settings: Settings, tail: tuple[str, ...]) -> Cause:
    limit = settings.check_memory
    return Cause(
        code=CauseCode.OUT_OF_MEMORY,
        message=f"The image used {_mebibytes(used)} of memory; the check allows "
        f"{_mebibytes(limit)}.",
        evidence=(f"memory in use: {_mebibytes(used)}, with {WORKERS} workers", *tail),
        fix="Load less, or raise the server's setting MODELYARD_CHECK_MEMORY (in bytes).",
    )


def _exited(status: int, tail: tuple[str, ...]) -> Cause:
    if status < 0:
        return Cause(
            code=CauseCode.KILLED,
            message=f"The image was ended by {_signal_name(-status)} during its check.",
            evidence=tail,
            fix="A compiled library crashed, or the host ran out of memory; the last lines, and "
            "the host's own log, say more.",
        )
    return Cause(
        code=CauseCode.EXITED,
        message=f"The image exited with status {status} during its check.",
        evidence=tail,
        fix="The last lines say why; look for `sys.exit` or `os._exit` in the script and in what "
        "it imports.",
    )


def _hung(phase: str, timeout: float, tail: tuple[str, ...]) -> Cause:
    if phase == "ready":
        return Cause(
            code=CauseCode.SAMPLE_FAILED,
            message=f"The sample input was not scored within the {timeout:g} seconds of the check.",
            evidence=tail,
            fix="The last lines show where `run()` was. If it needs the time, raise the server's "
            "setting MODELYARD_CHECK_TIMEOUT.",
        )
    return Cause(
        code=CauseCode.INIT_HUNG,
        message=f"The image was still {phase} after the {timeout:g} seconds of the check.",
        evidence=tail,
        fix="The last lines show where it was: a download, a lock, a prompt? If it needs the time, "
        "raise the server's setting MODELYARD_CHECK_TIMEOUT.",
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _mebibytes(size: int) -> str:
    return f"{size / (1 << 20):.0f} MiB"


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
