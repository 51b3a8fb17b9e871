"""How good a service's answers were, by what was told of them later."""

from __future__ import annotations

import tempfile
from datetime import datetime
from pathlib import Path

from modelyard.control import programs
from modelyard.control.captures import Captures, check_order
from modelyard.domain.principal import Principal
from modelyard.domain.quality import AskQuality, Quality, Task
from modelyard.errors import InvalidRequest, Unavailable
from modelyard.monitoring.jobs import Figures, Measuring

_PATIENCE = 60.0
"""Seconds on the clock that figures may take: less than a client waits for them."""


class Qualities:
    """Measures by captured records.

    Args:
        captures: The records.
        scratch: Folder for what does not fit into memory.
    """

    def __init__(self, captures: Captures, scratch: Path) -> None:
        self._captures = captures
        self._scratch = scratch

    def measure(self, principal: Principal, service: str, asked: AskQuality) -> Quality:
        """The quality of a service's answers.

        Raises:
            NotFound: Nothing was captured of that service.
            InvalidRequest: It cannot be told which values are to be compared, or there are too
                many of them.
            Unavailable: It takes too long.
        """
        return self._measure(principal, service, asked, counts_unmatched=True)

    def of_window(
        self,
        principal: Principal,
        service: str,
        since: datetime,
        until: datetime | None = None,
        task: Task | None = None,
    ) -> Quality:
        """The same for the answers of a time, by deployment; reads no file of before.

        `unmatched` is null. Raises as `measure` does.
        """
        asked = AskQuality(since=since, until=until, task=task)
        return self._measure(principal, service, asked, counts_unmatched=False)

    def _measure(
        self, principal: Principal, service: str, asked: AskQuality, *, counts_unmatched: bool
    ) -> Quality:
        check_order(asked.since, asked.until)
        since = None if counts_unmatched else asked.since  # truths may be older, and unmatched
        files = self._captures.files(principal, service, since)
        self._scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._scratch) as folder:
            figures = _run(
                Measuring(
                    files=files,
                    aside=Path(folder) / "aside",
                    asked=asked,
                    counts_unmatched=counts_unmatched,
                )
            )
        return Quality(
            service=service,
            task=figures.task,
            measured=figures.measured,
            unmatched=figures.unmatched,
        )


def _run(job: Measuring) -> Figures:
    done = programs.run("modelyard.monitoring.measuring", job=job, patience=_PATIENCE)
    if done is None or done.returncode < 0:
        raise _too_slow()
    if done.returncode:
        words = done.stderr.decode(errors="replace").strip()[-2000:]
        raise InvalidRequest(
            f"the quality cannot be measured: {words}",
            hint="`--value` names the value to compare, `--task` says what answers are, `--since` "
            "asks about less; `SELECT * FROM labelled LIMIT 1` shows what there is",
        )
    return Figures.model_validate_json(done.stdout)


def _too_slow() -> Unavailable:
    return Unavailable(
        "to measure the quality took too long, or too much memory",
        hint="ask about a shorter time with `since`",
    )
