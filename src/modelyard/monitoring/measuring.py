"""`python -m modelyard.monitoring.measuring`: how good answers were, by files of records.

It reads a `Measuring` from stdin and writes `Figures` to stdout, with status 0; or, with status 1,
says in one line of stderr why not. A process of its own, for DuckDB's memory and crashes are to
stay here.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import groupby
from typing import Any, NamedTuple

import duckdb
import numpy as np
import orjson

from modelyard.capture.asking import Refused, bound, connect, make_views
from modelyard.capture.sealing import identifier
from modelyard.domain.quality import AskQuality, ConfusionCounts, MeasuredQuality, Task
from modelyard.monitoring.jobs import Figures, Measuring
from modelyard.monitoring.quality import (
    Confusion,
    Errors,
    log_loss,
    roc_auc_of_classes,
)

MOST_ROWS = 1_000_000
"""Labelled rows that are looked at for one answer."""
MOST_CLASSES = 1000
_MOST_SHOWN = 50
_MOST_GROUPS = 10_000
_MOST_WHOLE = 100
"""Different whole numbers that are taken for classes."""
_SECONDS = 60
_HALF = 0.5
_OUTPUT = "output"
_ANSWERS = ("label", "class", "prediction", "predicted_label", "predicted", "output_label")
_CHANCES = ("probabilities", "probability", "scores", "proba", "output_probability")
_NUMBERS = ("DOUBLE", "BIGINT")


class _Columns(NamedTuple):
    """Which outputs are compared."""

    answer: str | None
    """None: it is the class with the best chance."""
    chances: tuple[str, ...]
    """One with them all, or one for each class."""


class _Pair(NamedTuple):
    """One labelled row."""

    truth: Any
    answer: Any
    chances: tuple[Any, ...]


def measure(job: Measuring) -> Figures:
    """Measure.

    Raises:
        Refused: It cannot be told which values are to be compared, or there are too many.
    """
    with connect(job.aside) as connection:
        make_views(connection, job.files)
        outputs = {
            name.removeprefix(_OUTPUT).removeprefix("_"): kind
            for name, kind, *_ in connection.execute("DESCRIBE rows").fetchall()
            if name == _OUTPUT or name.startswith(f"{_OUTPUT}_")
        }
        _prepare(connection, job.asked, list(outputs))
        groups = connection.execute(_GROUPS).fetchall()
        unmatched = _unmatched(connection) if job.counts_unmatched else None
        if len(groups) > _MOST_GROUPS:
            raise Refused(f"that is {len(groups)} periods: ask for a shorter time")
        labelled = sum(group[-1] for group in groups)
        if not labelled:
            return Figures(task=None, measured=tuple(map(_empty, groups)), unmatched=unmatched)
        if labelled > MOST_ROWS:
            raise Refused(f"there are {labelled} truths, more than {MOST_ROWS}")
        columns = _choose(outputs, job.asked)
        pairs = _pairs(connection, columns)
    return _figures(groups, pairs, columns, job.asked.task, unmatched)


_KEYS = "period, deployment, image, model, version"
_GROUPS = f"""SELECT {_KEYS}, count(*), count(truth) FROM answered
    GROUP BY ALL ORDER BY period, min(time), deployment"""  # noqa: S608 - no stranger's text


def _prepare(
    connection: duckdb.DuckDBPyConnection, asked: AskQuality, outputs: Sequence[str]
) -> None:
    """`answered`: the rows in question, each with the last truth that was told of it."""
    connection.execute(
        "CREATE TEMP TABLE truths AS SELECT prediction_id, row, "
        "arg_max(truth::VARCHAR, time) AS truth FROM feedback GROUP BY ALL"
    )
    period = f"date_trunc('{asked.by.value}', time)" if asked.by else "NULL::TIMESTAMPTZ"
    given = " OR ".join(f"{_column(name)} IS NOT NULL" for name in outputs) or "false"
    since, until = asked.since, asked.until
    connection.execute(
        f"CREATE TEMP TABLE answered AS SELECT rows.*, truth, {period} AS period "  # noqa: S608
        "FROM rows LEFT JOIN truths ON rows.prediction_id = truths.prediction_id "
        f"AND rows.row = truths.row WHERE ({given}) "
        "AND ($1 IS NULL OR time >= $1::TIMESTAMPTZ) AND ($2 IS NULL OR time < $2::TIMESTAMPTZ)",
        [since, until],
    )


def _unmatched(connection: duckdb.DuckDBPyConnection) -> int:
    found = connection.execute(
        "SELECT count(*) FROM truths ANTI JOIN rows USING (prediction_id, row)"
    ).fetchone()
    return int(found[0]) if found else 0


def _choose(outputs: dict[str, str], asked: AskQuality) -> _Columns:
    """Which values are compared: those that were named, else such as have a usual name."""
    for name in (asked.output, asked.scores):
        if name is not None and not _named(outputs, name):
            raise Refused(f"no answer has a value `{name[:100]}`; there is {_listed(outputs)}")
    chances: tuple[str, ...] = ()
    for name in (asked.scores,) if asked.scores is not None else _CHANCES:
        chances = chances or _named(outputs, name)
    if asked.output is not None:
        return _Columns(asked.output, chances)
    usual = [name for name in ("", *_ANSWERS) if name in outputs]
    others = [name for name in outputs if name not in chances]
    if usual:
        return _Columns(usual[0], chances)
    if len(others) == 1:
        return _Columns(others[0], chances)
    places = tuple(sorted((name for name in outputs if name.isdigit()), key=int))
    if not chances and len(places) == len(outputs):
        return _Columns(None, places)
    if chances and not others:
        return _Columns(None, chances)
    raise Refused(f"none of several values is called as answers are: {_listed(outputs)}")


def _named(outputs: dict[str, str], name: str) -> tuple[str, ...]:
    """The column of this name, or those of its places."""
    if name in outputs:
        return (name,)
    places = [one for one in outputs if re.fullmatch(f"{re.escape(name)}_[0-9]+", one)]
    return tuple(sorted(places, key=lambda one: int(one.rpartition("_")[2])))


def _listed(outputs: dict[str, str]) -> str:
    names = [f"`{name}`" for name in outputs if name][:20]
    return ", ".join(names) or "one value without a name"


def _pairs(connection: duckdb.DuckDBPyConnection, columns: _Columns) -> dict[Any, list[_Pair]]:
    """Labelled rows by their group."""
    answer = "NULL" if columns.answer is None else _column(columns.answer)
    chances = "".join(f", {_column(name)}" for name in columns.chances)
    found = connection.execute(
        f"SELECT {_KEYS}, truth, {answer}{chances} FROM answered "  # noqa: S608
        f"WHERE truth IS NOT NULL ORDER BY {_KEYS}"
    )
    rows = iter(lambda: found.fetchmany(10_000), [])
    flat = (row for batch in rows for row in batch)
    return {
        key: [_Pair(_told(row[5], columns.answer), row[6], row[7:]) for row in group]
        for key, group in groupby(flat, key=lambda row: row[:5])
    }


def _told(text: str, name: str | None) -> Any:
    """A truth; of an object the member that is named as the answer is, or its only one."""
    try:
        truth = orjson.loads(text)
    except ValueError:
        return None
    if not isinstance(truth, dict):
        return truth
    return truth.get(name) if len(truth) != 1 else next(iter(truth.values()))


def _figures(
    groups: Sequence[tuple[Any, ...]],
    pairs: dict[Any, list[_Pair]],
    columns: _Columns,
    wanted: Task | None,
    unmatched: int | None,
) -> Figures:
    everything = [pair for some in pairs.values() for pair in some]
    task = wanted or _task(everything, columns)
    if task is Task.CLASSIFICATION:
        score: Callable[..., dict[str, Any]] = _Classes(everything).figures
    else:
        score = _regression
    measured = []
    for group in groups:
        some = pairs.get(group[:5], [])
        found = _empty(group)
        measured.append(found.model_copy(update=score(some)) if some else found)
    return Figures(task=task, measured=tuple(measured), unmatched=unmatched)


def _empty(group: tuple[Any, ...]) -> MeasuredQuality:
    period, deployment, image, model, version, rows, labelled = group
    return MeasuredQuality(
        deployment=deployment,
        image=image,
        model=model,
        version=version,
        period=period,
        rows=rows,
        labelled=labelled,
    )


def _task(pairs: Sequence[_Pair], columns: _Columns) -> Task:
    """What answers are, by what was told and answered."""
    if columns.chances:
        return Task.CLASSIFICATION
    truths = [pair.truth for pair in pairs if pair.truth is not None]
    answers = [pair.answer for pair in pairs if pair.answer is not None]
    if not all(map(_is_number, [*truths, *answers])) or _are_chances(truths, answers):
        return Task.CLASSIFICATION
    if any(value != int(value) for value in [*truths, *answers]):
        return Task.REGRESSION
    return Task.CLASSIFICATION if len({*truths, *answers}) <= _MOST_WHOLE else Task.REGRESSION


def _are_chances(truths: Sequence[Any], answers: Sequence[Any]) -> bool:
    """Answers are chances of the second of two classes."""
    return (
        all(truth in (0, 1) for truth in truths)
        and all(_is_number(answer) and 0 <= answer <= 1 for answer in answers)
        and any(answer not in (0, 1) for answer in answers)
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _regression(pairs: Sequence[_Pair]) -> dict[str, Any]:
    usable = [(p.truth, p.answer) for p in pairs if _is_number(p.truth) and _is_number(p.answer)]
    left = {"unusable": len(pairs) - len(usable)}
    if not usable:
        return left
    truths, answers = np.array(usable, dtype=np.float64).T
    errors = Errors(truths, answers)
    figures = {"mae": errors.mae, "rmse": errors.rmse, "r2": errors.r2, "bias": errors.bias}
    return {**left, "figures": figures}


class _Classes:
    """Measures rows whose answers are classes.

    Args:
        pairs: All that are measured, of all groups: they tell which classes there are.
    """

    def __init__(self, pairs: Sequence[_Pair]) -> None:
        truths = [pair.truth for pair in pairs if pair.truth is not None]
        answers = [pair.answer for pair in pairs if pair.answer is not None]
        self._by_chance = bool(answers) and _are_chances(truths, answers)
        labels = _labels(truths if self._by_chance else [*truths, *answers])
        if len(labels) > MOST_CLASSES:
            raise Refused(f"there are {len(labels)} classes, more than {MOST_CLASSES}")
        named = {name for pair in pairs for name in self._named(pair)}
        width = max((len(self._listed(pair)) for pair in pairs), default=0)
        places = {"0", "1"} if self._by_chance else {str(place) for place in range(width)}
        if labels <= places and width != 1:  # chances are by the number of the class
            labels = places
        self._classes = sorted(labels | named, key=_order)
        self._places = {name: place for place, name in enumerate(self._classes)}

    def figures(self, pairs: Sequence[_Pair]) -> dict[str, Any]:
        """Of one group."""
        usable: list[tuple[str, str, list[float] | None]] = []
        for pair in pairs:
            truth, (answer, chances) = _label(pair.truth), self._answer(pair)
            if truth is not None and answer is not None:
                usable.append((truth, answer, chances))
        left: dict[str, Any] = {"unusable": len(pairs) - len(usable)}
        if not usable:
            return left
        found = Confusion([row[0] for row in usable], [row[1] for row in usable])
        figures = {
            "accuracy": found.accuracy,
            "balanced_accuracy": found.balanced_accuracy,
            "precision": found.precision,
            "recall": found.recall,
            "f1": found.f1,
            **self._with_chances(usable),
        }
        shown = None
        if len(found.classes) <= _MOST_SHOWN:
            counts = tuple(map(tuple, found.counts.tolist()))
            shown = ConfusionCounts(classes=found.classes, counts=counts)
        return {
            **left,
            "figures": figures,
            "accuracy_interval": tuple(found.accuracy_interval),
            "confusion": shown,
        }

    def _with_chances(self, rows: Sequence[tuple[Any, ...]]) -> dict[str, float | None]:
        known = [
            (self._places[r[0]], r[2]) for r in rows if r[2] is not None and r[0] in self._places
        ]
        if not known:
            return {}
        truths = np.array([truth for truth, _ in known], dtype=np.int64)
        chances = np.array([chance for _, chance in known], dtype=np.float64)
        figures = {"roc_auc": roc_auc_of_classes(truths, chances)}
        if chances.min() >= 0 and np.allclose(chances.sum(axis=1), 1, atol=1e-3):
            figures["log_loss"] = log_loss(truths, chances)
        return figures

    def _answer(self, pair: _Pair) -> tuple[str | None, list[float] | None]:
        """The class that was answered, and the chances of all, where they were."""
        if self._by_chance:
            if not _is_number(pair.answer):
                return None, None
            return str(int(pair.answer >= _HALF)), [1 - pair.answer, pair.answer]
        chances = self._chances(pair)
        if pair.answer is not None:
            return _label(pair.answer), chances
        if chances is None:
            return None, None
        return self._classes[int(np.argmax(chances))], chances

    def _chances(self, pair: _Pair) -> list[float] | None:
        """Of each class."""
        by_name = self._named(pair)
        if by_name:
            return [by_name.get(name, 0.0) for name in self._classes]
        chances = self._listed(pair)
        if len(chances) == 1 and len(self._classes) == 2:  # of the second
            chances = [1 - chances[0], chances[0]]
        return chances if chances and len(chances) == len(self._classes) else None

    @staticmethod
    def _listed(pair: _Pair) -> list[float]:
        values: Any = list(pair.chances)
        if len(values) == 1 and isinstance(values[0], str):
            values = _parsed(values[0])
        if not isinstance(values, list) or not all(map(_is_number, values)):
            return []
        return [float(value) for value in values]

    @staticmethod
    def _named(pair: _Pair) -> dict[str, float]:
        value = pair.chances[0] if len(pair.chances) == 1 else None
        found = _parsed(value) if isinstance(value, str) else None
        if not isinstance(found, dict) or not all(map(_is_number, found.values())):
            return {}
        return {name: float(chance) for name, chance in found.items()}


def _parsed(text: str) -> Any:
    with suppress(ValueError):
        return orjson.loads(text)
    return None


def _labels(values: Sequence[Any]) -> set[str]:
    return {label for label in map(_label, values) if label is not None}


def _label(value: Any) -> str | None:
    """A class as text: `7`, `7.0` and `"7"` are the same."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, int | float | str):
        return str(value)
    return None


def _order(name: str) -> tuple[bool, float, str]:
    """Numbers by their size, before texts."""
    try:
        return False, float(name), name
    except ValueError:
        return True, 0.0, name


def _column(name: str) -> str:
    return identifier(f"{_OUTPUT}_{name}" if name else _OUTPUT)


def main() -> int:
    """Measure what stdin says."""
    job = Measuring.model_validate_json(sys.stdin.buffer.read())
    bound(_SECONDS)
    try:
        sys.stdout.write(measure(job).model_dump_json())
    except (Refused, duckdb.Error, MemoryError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
