"""How far the traffic of a service is from what its model was made for."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from modelyard.control.captures import refuse_nothing
from modelyard.control.sketching import Sketcher, sketch_table
from modelyard.domain.captured import UNKNOWN_MODEL
from modelyard.domain.drift import Baseline, DriftReport, Sample
from modelyard.domain.principal import Principal
from modelyard.domain.service import Service
from modelyard.errors import InvalidRequest, NotFound, Unavailable
from modelyard.store import Database
from modelyard.store.sketches import Origin
from modelyard.store.transaction import Transaction

if TYPE_CHECKING:
    from modelyard.monitoring.sketches import Sketch

FIRST = timedelta(hours=24)
"""How long, from its first hour on, the traffic of a model version is its baseline by default."""
LEAST = 50
"""Rows of a baseline; and captured rows from which on it is known what columns there are."""
_MOST_NAMED = 20
MOST_BYTES = 4 << 30
"""Of a file with a baseline."""
_TABLES = (".csv", ".parquet")
_ANSWER = "output:"
"""Before the name of the column of a table that is the answer, as it is kept: only rows tell what
answers are.
"""


class Window(NamedTuple):
    """A time: hours that begin in it."""

    since: datetime
    until: datetime


_EVER = Window(datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC))


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
            NotFound: There is no such service, there are no rows in the window, or nothing to
                compare them with.
            Unavailable: What has come in is still being looked at.
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
        self._name_answer(left, right, origin)
        names = list(left.features)
        come = [name for name in right.features if name not in left.features]
        never: set[str] = set()
        if baseline.source == "window":
            names += come
            come = []
        elif not left.features.keys() <= right.features.keys():
            with self._database.read() as tx:
                never = left.features.keys() - _captured(tx, origin).features.keys()
        return DriftReport(
            service=service,
            model=f"{origin.model}:{origin.version}",
            baseline=baseline.model_copy(update={"rows": left.rows}),
            window=Sample(source="window", rows=right.rows, since=window.since, until=window.until),
            features=compare(left, right, sorted(names, key=_inputs_first), never),
            not_in_baseline=tuple(sorted(come, key=_inputs_first)),
            waiting=waiting,
        )

    def _name_answer(self, baseline: Sketch, window: Sketch, origin: Origin) -> None:
        """Call the answer of a baseline from a file as captured rows do."""
        for name in [name for name in baseline.features if name.startswith(_ANSWER)]:
            told = window.features
            if not told.keys() & {"output", _field_of(name)}:
                with self._database.read() as tx:
                    told = _captured(tx, origin).features
            baseline.features[_answer(name, told)] = baseline.features.pop(name)

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
            answer: The column that is the model's answer: `output`, or the field of this name where
                captured answers are objects that have one, as is seen whenever it is compared.
            model: `name:version`, of the image that the service runs or of captured rows; None: the
                first one of that image.

        Raises:
            NotFound: There is no such service, or it has no such model.
            InvalidRequest: The file is no such table, or captured rows lack one of its columns.
        """
        if ending not in _TABLES:
            raise InvalidRequest(
                f"a baseline is a table, and `{ending[:20]}` is none that can be read",
                hint="give a `.csv` or `.parquet` file",
            )
        with self._database.read() as tx:
            found = tx.services.get(principal.workspace, service)
            origin = _origin_of_baseline(tx, found, model)
            captured = _captured(tx, origin)
        (part,) = sketch_table(path, ending, answer, f"{_ANSWER}{answer}").parts
        names = tuple(_answer(name, captured.features) for name in part.features)
        baseline = Baseline(
            service=service,
            model=f"{origin.model}:{origin.version}",
            rows=part.rows,
            features=names,
            at=datetime.now(UTC),
            warning=_check_columns(origin, names, captured),
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
        recorded = tx.captured.segments(principal.workspace, service)
        if not recorded:
            tx.services.get(principal.workspace, service)
            refuse_nothing(tx, principal.workspace, service, "no captured rows")
        if waiting:
            raise Unavailable(
                f"captured rows of service `{service[:100]}` are just being looked at: "
                f"{waiting} {'file is' if waiting == 1 else 'files are'} left",
                hint="ask again in some seconds",
            )
        raise NotFound(
            f"there are no captured rows of service `{service[:100]}`{what} in that time",
            hint="ask about a longer time with --last: see `modelyard capture list`",
        )
    name, version = max(versions, key=lambda one: (versions[one], one))
    return Origin(principal.workspace, service, name, version)


def _origin_of_baseline(tx: Transaction, service: Service, model: str | None) -> Origin:
    models = [_reference(one) for one in service.models] or [(UNKNOWN_MODEL, 0)]
    wanted = models[0] if model is None else _reference(model)
    if wanted not in models:
        models += tx.sketches.versions(service.workspace, service.name, *_EVER)
    if wanted not in models:
        there = ", ".join(f"`{name}:{version}`" for name, version in sorted(set(models)))
        raise NotFound(
            f"service `{service.name}` has no model `{wanted[0][:200]}:{wanted[1]}`",
            hint=f"it has {there}",
        )
    return Origin(service.workspace, service.name, *wanted)


def _captured(tx: Transaction, origin: Origin) -> Sketch:
    """All rows there are of a model version."""
    from modelyard.monitoring.sketches import merged  # loads numpy

    return merged(tx.sketches.window(origin, *_EVER))


def _answer(name: str, captured: Container[str]) -> str:
    """What a column of a baseline is called in captured rows: an answer may be a value, or a field
    of one.
    """
    if not name.startswith(_ANSWER):
        return name
    field = _field_of(name)
    return field if field in captured and "output" not in captured else "output"


def _field_of(name: str) -> str:
    return f"output_{name.removeprefix(_ANSWER)}"


def _check_columns(origin: Origin, names: Sequence[str], captured: Sketch) -> str:
    """What is doubtful of the columns of a baseline, in words.

    Raises:
        InvalidRequest: Captured rows do not have one of them.
    """
    if not captured.rows:
        return (
            f"no rows of `{origin.model}:{origin.version}` are captured yet, so it is not known "
            f"whether they call them so: `modelyard service drift {origin.service}` will say"
        )
    strange = [name for name in names if name not in captured.features]
    if not strange:
        return ""
    named = ", ".join(f"`{name}`" for name in strange[:_MOST_NAMED])
    there = ", ".join(sorted(captured.features, key=_inputs_first)[:_MOST_NAMED])
    if captured.rows < LEAST:
        return f"{named} is in none of the {captured.rows} captured rows, which have {there}"
    raise InvalidRequest(
        f"captured rows of `{origin.service}` have no {named}: they have {there}",
        hint="call the columns of the file so, leave others out, and name that of the answer with "
        "--answer",
    )


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
