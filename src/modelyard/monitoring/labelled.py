"""How good a candidate's answers are beside those that were recorded, where truths were told.

The answers become files of records like any others; so both are read, typed and measured alike.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from uuid import UUID

from modelyard.capture.asking import Refused, connect, make_views
from modelyard.capture.jobs import Job, KnownDeployment, OpenSegment
from modelyard.capture.reading import literal
from modelyard.capture.sealing import RECORD_COLUMNS, seal_all
from modelyard.domain.columns import Columns
from modelyard.domain.difference import Answer
from modelyard.domain.quality import AskQuality, ComparedQuality, Measured, Task
from modelyard.domain.replay import Recorded
from modelyard.monitoring.jobs import Figures, Measuring
from modelyard.monitoring.measuring import measure
from modelyard_runtime.capture.records import LARGEST_BODY, Answered, encode
from modelyard_runtime.capture.segments import Segment, frame

LARGEST_SEGMENT = 32 << 20
"""Bytes of answers that wait for being sealed."""
MOST = 4 << 30
"""Bytes of answers, and of what was asked, that are kept for one replay."""
_NOBODY, _NAME = UUID(int=0), "replay"
"""Whose records they are."""
_ANSWERED = "SELECT DISTINCT prediction_id FROM read_parquet($1) WHERE recorded_by <> 'row'"
_BEFORE = (
    "SELECT * REPLACE (NULL::VARCHAR AS deployment, '' AS image, '' AS model, 0 AS version) "
    "FROM counted SEMI JOIN answered USING (prediction_id) WHERE recorded_by = 'row'"
)
"""All are as of one image: it is no matter who has answered."""
_TRUTHS = (
    f"SELECT {', '.join(RECORD_COLUMNS)} FROM records "  # noqa: S608
    "SEMI JOIN answered USING (prediction_id) WHERE recorded_by = 'feedback'"
)


class LabelledAnswers:
    """What a candidate has answered to requests whose truths were told.

    Args:
        aside: Folder for the answers; what is in there is not needed any more afterwards.
        columns: What the candidate declares of its rows.
    """

    def __init__(self, aside: Path, columns: Columns) -> None:
        self._aside = aside
        self._outbox = aside / "answers"
        self._known = KnownDeployment(
            service=_NOBODY, service_name=_NAME, image="", model="", columns=columns
        )
        self._at = int(time.time() * 1e6)
        self._segment: Segment | None = None
        self._sealed = 0
        self._size = 0

    def add(self, request: Recorded, answer: Answer) -> None:
        """Keep an answer, if it can be measured: if both have answered, and a truth was told."""
        if not request.can_be_judged or not answer.succeeded:
            return
        record = frame(encode(self._record(request, answer)))
        self._size += len(record)
        if self._size > MOST:
            return
        if self._segment is None:
            self._segment = Segment(self._aside, str(self._sealed))
        self._segment.append(record)
        if self._segment.size >= LARGEST_SEGMENT:
            self._seal()

    def compare(self, files: Iterable[Path]) -> ComparedQuality | None:
        """The quality of both; None: no truth was told of rows that both have answered.

        Args:
            files: Of the recorded answers and the truths.

        Raises:
            Refused: It cannot be told which values are to be compared, or there are too many.
        """
        if self._size > MOST:
            raise Refused(f"the answers to be compared are more than {MOST} bytes")
        self._seal()
        after = tuple(one.with_suffix(".parquet") for one in self._outbox.glob("*.json"))
        if not after:
            return None
        before, truths = self._aside / "before.parquet", self._aside / "truths.parquet"
        with connect(self._aside / "joining") as connection:
            make_views(connection, tuple(files))
            answered = [[literal(path) for path in after]]
            connection.execute(f"CREATE TEMP TABLE answered AS {_ANSWERED}", answered)
            connection.sql(_BEFORE).write_parquet(str(before))
            connection.sql(_TRUTHS).write_parquet(str(truths))
        return self._compare((before, truths), (*after, truths))

    def _compare(self, *both: tuple[Path, ...]) -> ComparedQuality | None:
        figures = [self._measure(files) for files in both]
        tasks = {one.task for one in figures if one.task is not None}
        if not tasks:
            return None
        if len(tasks) > 1:  # numbers that were whole on one side by chance
            tasks = {Task.REGRESSION}
            figures = [self._measure(files, Task.REGRESSION) for files in both]
        before, after = map(_whole, figures)
        return ComparedQuality(task=tasks.pop(), before=before, after=after)

    def _measure(self, files: tuple[Path, ...], task: Task | None = None) -> Figures:
        asked = AskQuality(task=task)
        aside = self._aside / "measuring"
        return measure(Measuring(files=files, aside=aside, asked=asked, counts_unmatched=False))

    def _seal(self) -> None:
        if self._segment is None:
            return
        self._segment.close()
        self._outbox.mkdir(exist_ok=True)
        segment = OpenSegment(
            path=self._segment.path, source="replay", service=_NOBODY, service_name=_NAME
        )
        seal_all(Job(outbox=self._outbox, deployments={"": self._known}, segments=(segment,)))
        self._segment = None
        self._sealed += 1

    def _record(self, request: Recorded, answer: Answer) -> Answered:
        body = answer.body
        return Answered(
            at=self._at,  # all of one day, so of one file
            prediction=request.prediction_id,
            request=request.prediction_id,
            key="",
            deployment="",
            replica="",
            status=answer.status,
            seconds=0.0,
            path=request.path,
            code="",
            input=request.input,
            input_type=request.input_type,
            input_size=request.input_size,
            output=body if len(body) <= LARGEST_BODY else None,
            output_type="",
            output_size=len(body),
        )


def _whole(figures: Figures) -> Measured:
    """All that was measured is of one image, or there was nothing to measure."""
    if not figures.measured:
        return Measured(rows=0, labelled=0)
    (one,) = figures.measured
    return Measured.model_validate(one.model_dump(include=set(Measured.model_fields)))
