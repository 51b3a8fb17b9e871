"""How far the traffic of a service is from what its model was made for."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, NamedTuple

from modelyard.control.sketching import Sketcher, sketch_table
from modelyard.domain.captured import UNKNOWN_MODEL
from modelyard.domain.drift import Baseline, DriftReport, Sample
from modelyard.domain.principal import Principal
from modelyard.errors import InvalidRequest, NotFound
from modelyard.store import Database
from modelyard.store.sketches import Origin
from modelyard.store.transaction import Transaction

FIRST = timedelta(hours=24)
"""How long, from its first hour on, the traffic of a model version is its baseline by default."""
LEAST = 50
"""Rows of a baseline."""
MOST_BYTES = 4 << 30
"""Of a file with a baseline."""
_TABLES = (".csv", ".parquet")


class Window(NamedTuple):
    """A time: hours that begin in it."""

    since: datetime
    until: datetime


class Drift:
    """What callers may ask about drift.

    Args:
        database: Where sketches are.
        sketcher: Makes them.
        scratch: Folder for files on their way.
    """

    def __init__(self, database: Database, sketcher: Sketcher, scratch: Path) -> None:
        self._database = database
        self._sketcher = sketcher
        self._scratch = scratch

    def report(
        self,
        principal: Principal,
        service: str,
        window: Window,
        against: Window | None = None,
        model: str | None = None,
    ) -> DriftReport:
        """Compare the rows of a time with a baseline.

        Args:
            principal: Who asks.
            service: Name of a service; it may be gone.
            window: The hours that are looked at.
            against: Hours to compare them with; None: the baseline of the model version that was
                set, else its first day.
            model: `name:version`; None: the one with most rows in the window.

        Raises:
            NotFound: There are no rows in the window, or nothing to compare them with.
            InvalidRequest: A time ends before it begins.
        """
        from modelyard.monitoring.drift import compare  # loads numpy
        from modelyard.monitoring.sketches import merged

        window = _whole(window)
        against = None if against is None else _whole(against)
        with self._database.read() as tx:
            waiting = tx.sketches.pending(principal.workspace, service)
            if waiting:
                self._sketcher.wake()
            origin = _origin(tx, principal, service, window, model, waiting)
            baseline, before = _baseline(tx, origin, window, against)
            now = tx.sketches.window(origin, *window)
        left, right = merged(before), merged(now)
        if left.rows < LEAST:
            raise _no_baseline(origin, f"there are {left.rows} rows, and it takes {LEAST}")
        names = list(left.features)
        if baseline.source == "window":
            names += [name for name in right.features if name not in left.features]
        return DriftReport(
            service=service,
            model=f"{origin.model}:{origin.version}",
            baseline=baseline.model_copy(update={"rows": left.rows}),
            window=Sample(source="window", rows=right.rows, since=window.since, until=window.until),
            features=compare(left, right, sorted(names, key=_inputs_first)),
            waiting=waiting,
        )

    @contextmanager
    def receive(self) -> Iterator[IO[bytes]]:
        """A file to write a table into; it is gone afterwards."""
        self._scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self._scratch) as file:
            yield file.file

    def set_baseline(
        self,
        principal: Principal,
        service: str,
        path: Path,
        ending: str,
        answer: str | None = None,
        model: str | None = None,
    ) -> Baseline:
        """Keep what is in a table as what a model version was made for.

        Args:
            principal: Who says so.
            service: Name of a service.
            path: The table.
            ending: Of its name: `.csv` or `.parquet`.
            answer: The column that is the model's answer.
            model: `name:version`; None: that of the image that the service runs.

        Raises:
            NotFound: There is no such service.
            InvalidRequest: The file is no such table.
        """
        if ending not in _TABLES:
            raise InvalidRequest(
                f"a baseline is a table, and `{ending[:20]}` is none that can be read",
                hint="give a `.csv` or `.parquet` file",
            )
        with self._database.read() as tx:
            found = tx.services.get(principal.workspace, service)
        name, version = _reference(model or next(iter(found.models), f"{UNKNOWN_MODEL}:0"))
        (part,) = sketch_table(path, ending, answer).parts
        baseline = Baseline(
            service=service,
            model=f"{name}:{version}",
            rows=part.rows,
            features=part.features,
            at=datetime.now(UTC),
        )
        with self._database.write() as tx:
            tx.sketches.set_baseline(principal.workspace, baseline, base64.b64decode(part.sketch))
        return baseline


def _whole(window: Window) -> Window:
    """From the beginning of an hour on.

    Raises:
        InvalidRequest: It ends before it begins.
    """
    since, until = (moment.astimezone(UTC) for moment in window)
    if until <= since:
        raise InvalidRequest(
            f"{until:%Y-%m-%d %H:%M} is not after {since:%Y-%m-%d %H:%M}",
            hint="name the earlier time first",
        )
    return Window(since.replace(minute=0, second=0, microsecond=0), until)


def _origin(
    tx: Transaction,
    principal: Principal,
    service: str,
    window: Window,
    model: str | None,
    waiting: int,
) -> Origin:
    versions = tx.sketches.versions(principal.workspace, service, *window)
    if model is not None:
        wanted = _reference(model)
        versions = {one: rows for one, rows in versions.items() if one == wanted}
    if not versions:
        what = f" that `{model[:200]}` has answered" if model else ""
        hint = "ask about a longer time with --last; `modelyard capture list` shows what there is"
        if waiting:
            hint = f"{waiting} files have come in and are just being looked at: ask again"
        elif not tx.captured.segments(principal.workspace, service):
            hint = "`modelyard service update NAME --capture 100%` records requests"
        raise NotFound(
            f"there are no captured rows of service `{service[:100]}`{what} in that time", hint=hint
        )
    name, version = max(versions, key=lambda one: (versions[one], one))
    return Origin(principal.workspace, service, name, version)


def _baseline(
    tx: Transaction, origin: Origin, window: Window, against: Window | None
) -> tuple[Sample, tuple[bytes, ...]]:
    if against is not None:
        sketches = tx.sketches.window(origin, *against)
        if not sketches:
            raise _no_baseline(origin, "there are no captured rows in the time to compare with")
        return _sample(against), sketches
    told = tx.sketches.baseline(origin)
    if told is not None:
        return Sample(source="file", rows=told[0].rows), (told[1],)
    first = tx.sketches.first(origin)
    assert first is not None, "the window has rows"
    first_day = Window(first, min(first + FIRST, window.since))
    if first_day.until <= first_day.since:
        raise _no_baseline(
            origin, "no baseline was set, and there are no rows from before the window"
        )
    return _sample(first_day), tx.sketches.window(origin, *first_day)


def _sample(window: Window) -> Sample:
    return Sample(source="window", rows=0, since=window.since, until=window.until)


def _no_baseline(origin: Origin, why: str) -> NotFound:
    return NotFound(
        f"there is nothing to compare the rows of `{origin.model}:{origin.version}` with: {why}",
        hint=f"`modelyard service baseline {origin.service} train.csv` sets what the model was "
        "made for; or name a time with --against",
    )


def _reference(model: str) -> tuple[str, int]:
    name, _, version = model.rpartition(":")
    if not name or not version.isascii() or not version.isdigit():
        raise InvalidRequest(
            f"`{model[:200]}` is no version of a model", hint="name it as `digits:3`"
        )
    return name, int(version)


def _inputs_first(name: str) -> tuple[bool, str]:
    return name.startswith("output"), name
