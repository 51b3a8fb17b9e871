"""How good answers were, measured by a process of its own from files of records."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from tests.factories import AGENT, WORKSPACE
from tests.segments import AT, NOON, answered, seal, told, write

from modelyard.capture.asking import Refused
from modelyard.capture.files import CapturedFiles
from modelyard.control.captures import Captures
from modelyard.control.quality import Qualities
from modelyard.domain.principal import Principal, Role
from modelyard.domain.quality import AskQuality, Period, Task
from modelyard.errors import InvalidRequest, NotFound
from modelyard.monitoring.jobs import Figures, Measuring
from modelyard.monitoring.measuring import measure
from modelyard.store import Database

DAY = timedelta(days=1)


def answers(*outputs: Any, at: int = AT) -> Iterator[Any]:
    for number, output in enumerate(outputs):
        body = {"input": b'{"data": [[1]]}', "output": json.dumps([output]).encode()}
        yield answered(str(number), at=at, **body)


class Files:
    """Sealed records of one service."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, *records: Any, deployment: str = "d1") -> None:
        number = len(list(self._folder.glob("outbox/*.parquet")))
        path = write(self._folder / "spool", f"0000{number}-worker-0", *records)
        seal(self._folder, path, deployment=deployment)

    def measure(self, **asked: Any) -> Figures:
        return measure(
            Measuring(
                files=tuple((self._folder / "outbox").glob("*.parquet")),
                aside=self._folder / "aside",
                asked=AskQuality(**asked),
            )
        )


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_by_deployment_and_day_with_what_was_not_told(files: Files) -> None:
    files.add(*answers("a", "b", "a", "a"))
    after = int((NOON + DAY).timestamp() * 1e6)
    late = [answered(f"late{n}", at=after, output=b'["b"]') for n in range(2)]
    files.add(*late, deployment="d2")
    truths = [told("0", "a"), told("1", "a"), told("2", "b"), told("2", "a", at=AT + 1)]
    files.add(*truths, told("late0", "b"), told("late1", {"kind": "b"}), told("gone", "a"))

    figures = files.measure()
    assert (figures.task, figures.unmatched) == (Task.CLASSIFICATION, 1)
    first, second = figures.measured
    assert (first.image, first.model, first.version, first.period) == ("digits:1", "m", 1, None)
    assert (first.rows, first.labelled, first.unlabelled, first.unusable) == (4, 3, 1, 0)
    assert first.figures["accuracy"] == pytest.approx(2 / 3)
    assert first.accuracy_interval == pytest.approx((0.2077, 0.9385), abs=1e-4)
    assert first.confusion is not None
    assert first.confusion.classes == ("a", "b")
    assert first.confusion.counts == ((2, 1), (0, 0))
    assert (second.image, second.figures["accuracy"]) == ("digits:2", 1)

    daily = files.measure(by=Period.DAY).measured
    assert [one.period and one.period.day for one in daily] == [2, 3]
    (only,) = files.measure(since=NOON + DAY / 2).measured
    assert (only.image, only.labelled) == ("digits:2", 2)
    assert files.measure(until=NOON).measured == ()


def test_nothing_was_told(files: Files) -> None:
    files.add(*answers("a", "b"), answered("failed", status=500))
    figures = files.measure()
    assert (figures.task, figures.unmatched) == (None, 0)
    (only,) = figures.measured
    assert (only.rows, only.labelled, only.figures) == (2, 0, {})


def test_numbers(files: Files) -> None:
    files.add(*answers(1.5, 2.0, 4.0, 1), told("0", 1), told("1", 2), told("2", 3), told("3", "x"))
    (only,) = files.measure(task=Task.REGRESSION).measured
    assert (only.labelled, only.unusable) == (4, 1)
    assert only.figures == pytest.approx(
        {"mae": 0.5, "rmse": (1.25 / 3) ** 0.5, "bias": 0.5, "r2": 1 - 1.25 / 2}
    )
    assert only.confusion is None


@pytest.mark.parametrize(
    ("outputs", "truths", "task"),
    [
        ((1, 2, 1), (1, 2, 2), Task.CLASSIFICATION),
        ((1.0, 2.0), (1, 2), Task.CLASSIFICATION),
        ((1.5, 2.0), (1, 2), Task.REGRESSION),
        ((1, 2), (1.5, 2), Task.REGRESSION),
        (tuple(range(60)), tuple(range(100, 160)), Task.REGRESSION),
        (("a", "b"), ("a", "b"), Task.CLASSIFICATION),
        ((True, False), (True, True), Task.CLASSIFICATION),
        ((0.2, 0.8), (0, 1), Task.CLASSIFICATION),
    ],
)
def test_the_task_follows_from_truths_and_answers(
    files: Files, outputs: tuple[Any, ...], truths: tuple[Any, ...], task: Task
) -> None:
    files.add(*answers(*outputs), *(told(str(n), truth) for n, truth in enumerate(truths)))
    assert files.measure().task is task


CHANCES = (0.9, 0.4, 0.2, 0.7)


@pytest.mark.parametrize(
    "outputs",
    [
        CHANCES,
        [[1 - chance, chance] for chance in CHANCES],
        [{"label": int(c > 0.5), "probabilities": [1 - c, c]} for c in CHANCES],
        [{"label": int(c > 0.5), "probability": c} for c in CHANCES],
        [{"probabilities": {"0": 1 - c, "1": c}} for c in CHANCES],
    ],
)
def test_chances_in_every_form(files: Files, outputs: Any) -> None:
    truths = (1, 1, 0, 0)
    files.add(*answers(*outputs), *(told(str(n), truth) for n, truth in enumerate(truths)))
    (only,) = files.measure().measured
    assert only.figures["accuracy"] == 0.5
    assert only.figures["roc_auc"] == 0.75
    assert only.figures["log_loss"] == pytest.approx(0.6122, abs=1e-3)


def test_which_values_are_compared_can_be_said(files: Files) -> None:
    outputs = [{"kind": "a", "size": 1.5}, {"kind": "b", "size": 2.5}]
    truths = [told("0", {"kind": "a", "size": 1.0}), told("1", {"kind": "a", "size": 2.0})]
    files.add(*answers(*outputs), *truths)
    (kinds,) = files.measure(output="kind").measured
    assert kinds.figures["accuracy"] == 0.5
    (sizes,) = files.measure(output="size").measured
    assert sizes.figures["mae"] == 0.5
    with pytest.raises(Refused, match="called as answers are: `kind`, `size`"):
        files.measure()
    with pytest.raises(Refused, match="no answer has a value `colour`"):
        files.measure(output="colour")


def test_the_server_measures_what_came_in(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'modelyard.db'}")
    database.migrate()
    with database.write() as tx:
        tx.agents.ensure(WORKSPACE, AGENT)
    files = CapturedFiles(tmp_path / "captured")
    captures = Captures(database, files, tmp_path / "answers")
    qualities = Qualities(captures, tmp_path / "scratch")
    caller = Principal(id=UUID(int=7), workspace=WORKSPACE, name="owner", role=Role.OWNER)
    with pytest.raises(NotFound, match="service `digits` not found"):
        qualities.measure(caller, "digits", AskQuality())

    Files(tmp_path).add(*answers("a", "b"), told("0", "a"), told("1", "a"), told("gone", "a"))
    (segment,) = seal(tmp_path)
    with captures.receive() as arrival:
        arrival.write((tmp_path / "outbox" / f"{segment.name}.parquet").read_bytes())
        captures.add(caller, AGENT, 1, 0, segment, arrival)
    found = qualities.measure(caller, "digits", AskQuality())
    assert (found.service, found.task, found.unmatched) == ("digits", Task.CLASSIFICATION, 1)
    assert found.measured[0].figures["accuracy"] == 0.5
    with pytest.raises(InvalidRequest, match="no answer has a value `x`; there is one value"):
        qualities.measure(caller, "digits", AskQuality(output="x"))
    window = qualities.of_window(caller, "digits", NOON, NOON + DAY)
    assert (window.measured, window.unmatched) == (found.measured, None)
    assert list((tmp_path / "scratch").iterdir()) == []
