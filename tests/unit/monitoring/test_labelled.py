from __future__ import annotations

from pathlib import Path

import pytest
from tests.replays import recorded
from tests.segments import answered, seal, write

from modelyard.capture.asking import Refused
from modelyard.domain.columns import Columns
from modelyard.domain.difference import Answer
from modelyard.monitoring import labelled
from modelyard.monitoring.labelled import LabelledAnswers
from modelyard_runtime.capture.records import Told

SCORED = {"input": b"[1]", "input_size": 3, "output": b"[0.5]", "output_size": 5}


def labelled_answers(folder: Path) -> LabelledAnswers:
    folder.mkdir()
    answers = LabelledAnswers(folder, Columns())
    for prediction, answer in (("a", b"[1.25]"), ("b", b"[1.75]")):
        answers.add(recorded(prediction, labelled=True), Answer(200, answer))
    answers.add(recorded("c"), Answer(200, b"[9]"))
    answers.add(recorded("d", labelled=True), Answer(422, b"[9]"))
    return answers


@pytest.mark.parametrize("size", [1, 1 << 20])
def test_answers_of_many_segments_are_measured_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(labelled, "LARGEST_SEGMENT", size)
    records = [answered(name, **SCORED) for name in "abcd"]
    truths = [Told(1, name, 0, b"1.5", "k") for name in "abcd"]
    seal(tmp_path, write(tmp_path / "spool", "0", *records, *truths))
    found = labelled_answers(tmp_path / "aside").compare((tmp_path / "outbox").glob("*.parquet"))
    assert found is not None
    assert (found.before.labelled, found.after.labelled) == (2, 2)
    assert (found.before.figures["mae"], found.after.figures["mae"]) == (1.0, 0.25)


def test_more_answers_than_there_is_room_for_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labelled, "MOST", 100)
    with pytest.raises(Refused, match="more than 100 bytes"):
        labelled_answers(tmp_path / "aside").compare(())
