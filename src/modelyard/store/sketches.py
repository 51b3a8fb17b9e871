"""What is kept of captured rows to compare them: by model version, hour and day."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple

from sqlalchemy import ColumnElement, and_, delete, func, or_, select, update

from modelyard.domain.captured import Segment
from modelyard.domain.drift import Baseline
from modelyard.store.repository import Repository
from modelyard.store.rows import CaptureSegmentRow, CaptureSketchRow, DriftBaselineRow

_DAY = timedelta(days=1)

Merge = Callable[[Sequence[bytes]], bytes]


class Origin(NamedTuple):
    """Whose rows."""

    workspace: str
    service: str
    model: str
    version: int


class NewPart(NamedTuple):
    """What is kept of rows of one hour that have come in."""

    begins: datetime
    rows: int
    sketch: bytes


class Sketches(Repository):
    """Sketches of rows; they outlive their service, as the records do."""

    def pending(self, workspace: str, service: str | None = None) -> int:
        """How many files are not sketched yet."""
        query = select(func.count()).select_from(CaptureSegmentRow).where(_unsketched(workspace))
        if service is not None:
            query = query.where(CaptureSegmentRow.service_name == service)
        return int(self._session.scalar(query) or 0)

    def sketched_files(self, workspace: str) -> set[str]:
        """Names of the files whose rows are in sketches."""
        query = select(CaptureSegmentRow.name).where(
            CaptureSegmentRow.workspace == workspace,
            CaptureSegmentRow.sketched.is_(True),
            CaptureSegmentRow.deleted.is_(False),
        )
        return set(self._session.scalars(query))

    def next_files(self, workspace: str, most: int, most_bytes: int) -> tuple[str, ...]:
        """Names of files that are not sketched yet: some of one day of one model version."""
        first = self._session.scalars(
            select(CaptureSegmentRow)
            .where(_unsketched(workspace))
            .order_by(CaptureSegmentRow.seq)
            .limit(1)
        ).first()
        if first is None:
            return ()
        rows = self._session.execute(
            select(CaptureSegmentRow.name, CaptureSegmentRow.size)
            .where(_unsketched(workspace), _same_day(first))
            .order_by(CaptureSegmentRow.seq)
            .limit(most)
        ).all()
        names, total = [first.name], first.size
        for name, size in rows:
            total += size
            if name != first.name and total <= most_bytes:
                names.append(name)
        return tuple(names)

    def add(self, segments: Sequence[Segment], parts: Iterable[NewPart], merge: Merge) -> bool:
        """Take in the rows of files of one day of a model version, and note that they are in.

        False: a file has changed meanwhile, or is in already, and nothing is taken.
        """
        names = {segment.name: segment.digest for segment in segments}
        rows = self._session.scalars(
            select(CaptureSegmentRow).where(CaptureSegmentRow.name.in_(names))
        ).all()
        if {row.name: row.digest for row in rows if not (row.sketched or row.deleted)} != names:
            return False
        for row in rows:
            row.sketched = True
        row = rows[0]
        origin = Origin(row.workspace, row.service_name, row.model, row.version)
        for part in parts:
            if part.begins.astimezone(UTC).date() == row.date:  # the day that goes when it must
                self.put(origin, part, merge)
        self._session.flush()
        return True

    def put(self, origin: Origin, part: NewPart, merge: Merge) -> None:
        """Take in rows: into what is kept of their hour, and of their day."""
        self._put(origin, 1, part, merge)
        self._put(origin, 24, part, merge)

    def _put(self, origin: Origin, hours: int, part: NewPart, merge: Merge) -> None:
        begins = part.begins if hours == 1 else midnight(part.begins)
        key = (*origin, hours, begins)
        row = self._session.get(CaptureSketchRow, key)
        if row is None:
            names = ("workspace", "service_name", "model", "version", "hours", "begins")
            fields = dict(zip(names, key, strict=True))
            self._session.add(CaptureSketchRow(rows=part.rows, sketch=part.sketch, **fields))
            self._session.flush()
        else:
            row.rows += part.rows
            row.sketch = merge([row.sketch, part.sketch])

    def forget_day(self, workspace: str, segment: Segment) -> None:
        """What is kept of the day of a file goes, and is made anew of all its files."""
        self._delete_day(workspace, segment)
        self._session.execute(
            update(CaptureSegmentRow).where(*_beside(workspace, segment)).values(sketched=False)
        )

    def expire_day(self, workspace: str, segment: Segment) -> None:
        """A file is deleted: what is kept of its day goes if it was the last one."""
        left = select(func.count()).where(
            *_beside(workspace, segment), CaptureSegmentRow.deleted.is_(False)
        )
        if not self._session.scalar(left):
            self._delete_day(workspace, segment)

    def _delete_day(self, workspace: str, segment: Segment) -> None:
        begins = datetime.combine(segment.date, time(), UTC)
        self._session.execute(
            delete(CaptureSketchRow).where(
                CaptureSketchRow.workspace == workspace,
                CaptureSketchRow.service_name == segment.service_name,
                CaptureSketchRow.model == segment.model,
                CaptureSketchRow.version == segment.version,
                CaptureSketchRow.begins >= begins,
                CaptureSketchRow.begins < begins + _DAY,
            )
        )

    def expire(self, workspace: str, before: date) -> None:
        """Delete what is kept of rows of earlier days."""
        self._session.execute(
            delete(CaptureSketchRow).where(
                CaptureSketchRow.workspace == workspace,
                CaptureSketchRow.begins < datetime.combine(before, time(), UTC),
            )
        )

    def versions(
        self, workspace: str, service: str, since: datetime, until: datetime
    ) -> Mapping[tuple[str, int], int]:
        """Rows in a time by model and version."""
        query = (
            select(
                CaptureSketchRow.model, CaptureSketchRow.version, func.sum(CaptureSketchRow.rows)
            )
            .where(
                CaptureSketchRow.workspace == workspace,
                CaptureSketchRow.service_name == service,
                _within(since, until),
            )
            .group_by(CaptureSketchRow.model, CaptureSketchRow.version)
        )
        rows = self._session.execute(query)
        return {(model, version): int(count) for model, version, count in rows}

    def first(self, origin: Origin) -> datetime | None:
        """The first hour that there are rows of."""
        query = select(func.min(CaptureSketchRow.begins)).where(
            _of(origin), CaptureSketchRow.hours == 1
        )
        return self._session.scalar(query)

    def window(self, origin: Origin, since: datetime, until: datetime) -> tuple[bytes, ...]:
        """Sketches of the hours that begin in a time; of whole days where it has some."""
        query = select(CaptureSketchRow.sketch).where(_of(origin), _within(since, until))
        return tuple(self._session.scalars(query.order_by(CaptureSketchRow.begins)))

    def set_baseline(self, workspace: str, baseline: Baseline, sketch: bytes) -> None:
        """Keep what a model version was made for, in place of what was said before."""
        model, _, version = baseline.model.rpartition(":")
        self._session.merge(
            DriftBaselineRow(
                workspace=workspace,
                service_name=baseline.service,
                model=model,
                version=int(version),
                rows=baseline.rows,
                features=list(baseline.features),
                at=baseline.at,
                sketch=sketch,
            )
        )
        self._session.flush()

    def baseline(self, origin: Origin) -> tuple[Baseline, bytes] | None:
        """What a model version was made for, if anybody has said so."""
        row = self._session.get(DriftBaselineRow, tuple(origin))
        if row is None:
            return None
        told = Baseline(
            service=row.service_name,
            model=f"{row.model}:{row.version}",
            rows=row.rows,
            features=tuple(row.features),
            at=row.at,
        )
        return told, row.sketch


def midnight(moment: datetime) -> datetime:
    """When its day begins, UTC."""
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def _beside(workspace: str, segment: Segment) -> tuple[ColumnElement[bool], ...]:
    """Files of the day and the model version of one, itself among them."""
    return (
        CaptureSegmentRow.workspace == workspace,
        CaptureSegmentRow.service_name == segment.service_name,
        CaptureSegmentRow.model == segment.model,
        CaptureSegmentRow.version == segment.version,
        CaptureSegmentRow.date == segment.date,
    )


def _unsketched(workspace: str) -> ColumnElement[bool]:
    return and_(
        CaptureSegmentRow.workspace == workspace,
        CaptureSegmentRow.sketched.is_(False),
        CaptureSegmentRow.deleted.is_(False),
    )


def _same_day(row: CaptureSegmentRow) -> ColumnElement[bool]:
    return and_(
        CaptureSegmentRow.service_name == row.service_name,
        CaptureSegmentRow.model == row.model,
        CaptureSegmentRow.version == row.version,
        CaptureSegmentRow.date == row.date,
    )


def _of(origin: Origin) -> ColumnElement[bool]:
    return and_(
        CaptureSketchRow.workspace == origin.workspace,
        CaptureSketchRow.service_name == origin.service,
        CaptureSketchRow.model == origin.model,
        CaptureSketchRow.version == origin.version,
    )


def _within(since: datetime, until: datetime) -> ColumnElement[bool]:
    """Days that are whole in a time, and the hours before and after them."""
    first, last = midnight(since), midnight(until)
    if first < since:
        first += _DAY
    begins, hours = CaptureSketchRow.begins, CaptureSketchRow.hours
    if first >= last:
        return and_(hours == 1, begins >= since, begins < until)
    return or_(
        and_(hours == 24, begins >= first, begins < last),
        and_(hours == 1, begins >= since, begins < first),
        and_(hours == 1, begins >= last, begins < until),
    )
