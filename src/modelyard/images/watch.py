"""Waits for a started image while it keeps to its limits; what goes wrong is one typed cause.

The replica's own cause where it recorded one, else what shows from outside (time, memory, exit
status). Used by `check` and `starting`, whose callers say for what the image was started.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, NamedTuple, NoReturn, TypeVar

import httpx2
from pydantic import ValidationError

from modelyard.domain.cause import Cause, CauseCode
from modelyard.domain.service import ReplicaSettings
from modelyard.errors import BuildFailed
from modelyard.images.cancelling import go_on
from modelyard.images.failures import build_failed
from modelyard.images.trial import Trial
from modelyard.settings import Settings

Result = TypeVar("Result")

_POLL = 0.01
_POLLS_PER_MEASUREMENT = 10
_REPORT_DELAY = 2.0
"""Seconds that the replica gets to record why a sample failed, after it answered."""
_NEARLY = 0.9
"""Of the memory limit: a kill from outside at this point was for lack of memory."""


class Limits(NamedTuple):
    """What a trial may use, and who says so."""

    memory: int
    """Bytes, of all its processes."""
    timeout: float
    """Seconds until it is ready, or has scored."""
    memory_from: str = "the server's setting MODELYARD_CHECK_MEMORY (in bytes)"
    timeout_from: str = "the server's setting MODELYARD_CHECK_TIMEOUT"

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """Those of checks."""
        return cls(settings.check_memory, settings.check_timeout)

    @classmethod
    def of_replica(cls, replica: ReplicaSettings) -> Limits:
        """Those of a service."""
        where = "setting `{}` of the service"
        return cls(
            replica.memory,
            replica.startup_timeout,
            where.format("memory"),
            where.format("startup_timeout"),
        )


class Watch:
    """Waits for a trial while it keeps to its limits, and passes its output on.

    Args:
        trial: The started image.
        deadline: `time.monotonic()` at which whatever it is doing counts as hung.
        limits: On time and memory.
        purpose: What it was started for, such as `check`: the source of its output in the log.
        log: Takes a line of output and its source.
    """

    def __init__(
        self,
        trial: Trial,
        deadline: float,
        limits: Limits,
        purpose: str,
        log: Callable[[str, str], None],
    ) -> None:
        self.trial = trial
        self.deadline = deadline
        self._limits = limits
        self._purpose = purpose
        self._log = log
        self._polls = 0
        self._memory = 0

    def until_ready(self) -> None:
        """Wait until every worker is ready.

        Raises:
            BuildFailed: It failed, ended, or passed a limit before.
            Cancelled: It is not wanted any longer.
        """
        while (phase := self.trial.status().get("phase")) != "ready":
            self._step()
            if phase == "failed":
                self._raise_own_cause()

    def until_done(self, answer: Future[Result]) -> Result:
        """Wait for an answer.

        Raises:
            BuildFailed: The replica ended or passed a limit before, or broke the connection.
            Cancelled: It is not wanted any longer.
        """
        while not answer.done():
            self._step()
        try:
            return answer.result()
        except httpx2.HTTPError as error:
            self._step()
            raise self.failed_sample(0, str(error)) from error

    def failed_sample(self, status: int, text: str) -> BuildFailed:
        """Why the sample was not scored: what the replica recorded, with the answer.

        Args:
            status: HTTP status of the answer; 0 when the connection broke instead.
            text: The answer's body, or its beginning.
        """
        if not status:
            return build_failed(_connection_broke(text, self._evidence()))
        return build_failed(_sample_failed(self._last_failure(), status, text))

    def _last_failure(self) -> Cause | None:
        give_up = min(self.deadline, time.monotonic() + _REPORT_DELAY)
        while time.monotonic() < give_up:
            if (cause := _cause(self.trial.status().get("last_failure"))) is not None:
                return cause
            self._step()
        return None

    def _step(self) -> None:
        """Let a moment pass and look at everything but the awaited thing itself."""
        time.sleep(_POLL)
        go_on()
        self._pass_output_on()
        if self.trial.has_exited():
            self._raise_ended()
        if self._polls % _POLLS_PER_MEASUREMENT == 0:
            self._measure()
        self._polls += 1
        if time.monotonic() > self.deadline:
            self._raise_hung()

    def _measure(self) -> None:
        self._memory = self.trial.memory(self._limits.memory)
        if self._memory > self._limits.memory:
            raise self._out_of_memory()

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
        limit = self._limits.memory
        if status == -signal.SIGKILL and self._memory > _NEARLY * limit:
            return self._out_of_memory()
        return build_failed(_exited(status, self._purpose, self._evidence()))

    def _raise_hung(self) -> NoReturn:
        phase = str(self.trial.status().get("phase", "starting"))
        self.trial.show_where_it_is()
        self.trial.end()
        raise build_failed(_hung(phase, self._limits, self._purpose, self._evidence()))

    def _out_of_memory(self) -> BuildFailed:
        return build_failed(
            _out_of_memory(self._memory, self._limits, self._purpose, self._evidence())
        )

    def _pass_output_on(self) -> None:
        for line in self.trial.output():
            self._log(line, self._purpose)

    def _evidence(self) -> tuple[str, ...]:
        return tuple(self.trial.tail)


def _cause(document: Any) -> Cause | None:
    try:
        return Cause.model_validate(document) if document is not None else None
    except ValidationError:
        return None


def _sample_failed(recorded: Cause | None, status: int, text: str) -> Cause:
    seen = f"status {status}: {text}"
    if recorded is not None:
        return recorded.model_copy(update={"evidence": (*recorded.evidence, seen)})
    return Cause(
        code=CauseCode.SAMPLE_FAILED,
        message=f"The sample input was answered with status {status}.",
        evidence=(seen,),
        fix="Give a sample that can be scored, or correct `run()` if the image has a script.",
    )


def _connection_broke(error: str, tail: tuple[str, ...]) -> Cause:
    return Cause(
        code=CauseCode.SAMPLE_FAILED,
        message="The worker that scored the sample input ended without an answer.",
        evidence=(error, *tail),
        fix="A compiled library crashed, or `run()` ended the process; the last lines say where.",
    )


def _out_of_memory(used: int, limits: Limits, purpose: str, tail: tuple[str, ...]) -> Cause:
    return Cause(
        code=CauseCode.OUT_OF_MEMORY,
        message=f"The image used {_mebibytes(used)} of memory; the {purpose} allows "
        f"{_mebibytes(limits.memory)}.",
        evidence=(f"memory in use: {_mebibytes(used)}, all workers together", *tail),
        fix=f"Load less, or raise {limits.memory_from}.",
    )


def _exited(status: int, purpose: str, tail: tuple[str, ...]) -> Cause:
    if status < 0:
        return Cause(
            code=CauseCode.KILLED,
            message=f"The image was ended by {_signal_name(-status)} during its {purpose}.",
            evidence=tail,
            fix="A compiled library crashed, or the host ran out of memory; the last lines, and "
            "the host's own log, say more.",
        )
    return Cause(
        code=CauseCode.EXITED,
        message=f"The image exited with status {status} during its {purpose}.",
        evidence=tail,
        fix="The last lines say why; look for `sys.exit` or `os._exit` in the script and in what "
        "it imports.",
    )


def _hung(phase: str, limits: Limits, purpose: str, tail: tuple[str, ...]) -> Cause:
    if phase == "ready":
        return Cause(
            code=CauseCode.SAMPLE_FAILED,
            message=f"The sample input was not scored within the {limits.timeout:g} seconds of the "
            f"{purpose}.",
            evidence=tail,
            fix="The last lines show where `run()` was. If it needs the time, raise "
            f"{limits.timeout_from}.",
        )
    return Cause(
        code=CauseCode.INIT_HUNG,
        message=f"The image was still {phase} after the {limits.timeout:g} seconds of the "
        f"{purpose}.",
        evidence=tail,
        fix="The last lines show where it was: a download, a lock, a prompt? If it needs the time, "
        f"raise {limits.timeout_from}.",
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _mebibytes(size: int) -> str:
    return f"{size / (1 << 20):.0f} MiB"
