"""Files of captured records, numbered on their way in, and what became of requests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import func, select

from modelyard.domain.captured import Segment, Tally
from modelyard.errors import Conflict
from modelyard.store.repository import Repository
from modelyard.store.rows import (
    AgentRow,
    CaptureForgottenFieldRow,
    CaptureSegmentRow,
    CaptureStreamRow,
    CaptureTallyRow,
)

_FIELDS = tuple(Segment.model_fields)
_AT_ONCE = 1000
"""Names in one query."""


class Totals(NamedTuple):
    """The sums of all tallies of a service."""

    answered: int
    captured: int
    sampled_out: int
    dropped: int


class Waiting(NamedTuple):
    """Segments that are still on hosts."""

    segments: int
    as_of: datetime | None
    """When the host that has been silent the longest last said so; None: none has."""


class Captured(Repository):
    """Captured records by workspace and name of the service; also of services that are gone."""

    def expected(self, agent: str, epoch: int) -> int:
        """The sequence that is expected next from an agent.

        Raises:
            Conflict: The epoch is older than one that was seen.
        """
        return self._stream(agent, epoch).next

    def add(self, workspace: str, agent: str, epoch: int, segment: Segment) -> bool:
        """Take in the segment that was expected; False: it is here already, by its name."""
        self._stream(agent, epoch).next += 1
        if self.has(workspace, segment.name):
            return False
        fields = {name: getattr(segment, name) for name in _FIELDS}
        self._session.add(
            CaptureSegmentRow(workspace=workspace, forgotten=0, deleted=False, **fields)
        )
        self._session.flush()
        return True

    def has(self, workspace: str, name: str) -> bool:
        """Whether a segment has ever come in."""
        query = select(CaptureSegmentRow.seq).where(
            CaptureSegmentRow.workspace == workspace, CaptureSegmentRow.name == name
        )
        return self._session.scalar(query) is not None

    def get(self, workspace: str, name: str) -> Segment:
        """A segment that has come in, by its name."""
        query = select(CaptureSegmentRow).where(
            CaptureSegmentRow.workspace == workspace, CaptureSegmentRow.name == name
        )
        return _segment(self._session.scalars(query).one())

    def segments(
        self,
        workspace: str,
        service: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> tuple[Segment, ...]:
        """The segments with records of a service, or of all, in a time; oldest first."""
        query = select(CaptureSegmentRow).where(
            CaptureSegmentRow.workspace == workspace, CaptureSegmentRow.deleted.is_(False)
        )
        if service is not None:
            query = query.where(CaptureSegmentRow.service_name == service)
        if since is not None:
            query = query.where(CaptureSegmentRow.last >= since)
        if until is not None:
            query = query.where(CaptureSegmentRow.first < until)
        rows = self._session.scalars(query.order_by(CaptureSegmentRow.first, CaptureSegmentRow.seq))
        return tuple(_segment(row) for row in rows)

    def live(self) -> dict[str, str]:
        """Digests of all segments whose files are kept, of every workspace, by their names."""
        query = select(CaptureSegmentRow.name, CaptureSegmentRow.digest).where(
            CaptureSegmentRow.deleted.is_(False)
        )
        return {name: digest for name, digest in self._session.execute(query)}

    def delete(self, workspace: str, name: str) -> None:
        """A segment's file is going; its name stays known, and its requests stay counted."""
        query = select(CaptureSegmentRow).where(
            CaptureSegmentRow.workspace == workspace, CaptureSegmentRow.name == name
        )
        row = self._session.scalars(query).one()
        row.deleted = True
        self._session.flush()

    def rewrite(self, workspace: str, new: Segment, forgotten: int) -> None:
        """A segment has another file, without the records of so many requests."""
        query = select(CaptureSegmentRow).where(
            CaptureSegmentRow.workspace == workspace, CaptureSegmentRow.name == new.name
        )
        row = self._session.scalars(query).one()
        row.size, row.digest = new.size, new.digest
        row.rows, row.requests = new.rows, new.requests
        row.forgotten += forgotten
        self._session.flush()

    def remember_field(self, workspace: str, service: str, field: str) -> None:
        """Records of a service are forgotten that were found by a field."""
        self._session.merge(
            CaptureForgottenFieldRow(workspace=workspace, service_name=service, field=field)
        )
        self._session.flush()

    def has_forgotten(self, workspace: str, service: str, field: str) -> bool:
        """Whether records of a service were ever forgotten that were found by a field."""
        key = (workspace, service, field)
        return self._session.get(CaptureForgottenFieldRow, key) is not None

    def join(self, workspace: str, new: Segment, parts: Mapping[str, str]) -> bool:
        """A file has the records of others, whose files are going: they are counted with it.

        Args:
            workspace: Whose.
            new: The file.
            parts: Digests of the others by their names.

        Returns:
            False: one of them has changed meanwhile, or got into a sketch when others did not;
            nothing is done.
        """
        rows = self._session.scalars(
            select(CaptureSegmentRow).where(
                CaptureSegmentRow.workspace == workspace, CaptureSegmentRow.name.in_(parts)
            )
        ).all()
        if {row.name: row.digest for row in rows if not row.deleted} != parts:
            return False
        sketched = {row.sketched for row in rows}
        if len(sketched) > 1:
            return False
        for row in rows:
            row.deleted, row.rows, row.requests = True, 0, 0
        fields = {name: getattr(new, name) for name in _FIELDS}
        self._session.add(
            CaptureSegmentRow(
                workspace=workspace, forgotten=0, deleted=False, sketched=True in sketched, **fields
            )
        )
        self._session.flush()
        return True

    def deleted(self, names: Sequence[str]) -> set[str]:
        """Those of some names whose files are gone, or should be."""
        found: set[str] = set()
        for start in range(0, len(names), _AT_ONCE):
            some = names[start : start + _AT_ONCE]
            query = select(CaptureSegmentRow.name).where(
                CaptureSegmentRow.name.in_(some), CaptureSegmentRow.deleted.is_(True)
            )
            found |= set(self._session.scalars(query))
        return found

    def forgotten_requests(self, workspace: str, service: str) -> int:
        """How many requests to a service there were records of that were forgotten."""
        query = select(func.coalesce(func.sum(CaptureSegmentRow.forgotten), 0)).where(
            CaptureSegmentRow.workspace == workspace, CaptureSegmentRow.service_name == service
        )
        return int(self._session.scalar(query) or 0)

    def deleted_requests(self, workspace: str, service: str) -> int:
        """How many requests to a service there were records of that were deleted."""
        query = select(func.coalesce(func.sum(CaptureSegmentRow.requests), 0)).where(
            CaptureSegmentRow.workspace == workspace,
            CaptureSegmentRow.service_name == service,
            CaptureSegmentRow.deleted.is_(True),
        )
        return int(self._session.scalar(query) or 0)

    def services(self, workspace: str) -> tuple[str, ...]:
        """Names of the services that anything was captured of, or counted."""
        names = set(
            self._session.scalars(
                select(CaptureSegmentRow.service_name)
                .where(CaptureSegmentRow.workspace == workspace)
                .distinct()
            )
        )
        names |= set(
            self._session.scalars(
                select(CaptureTallyRow.service_name)
                .where(CaptureTallyRow.workspace == workspace)
                .distinct()
            )
        )
        return tuple(sorted(names))

    def count(self, workspace: str, tallies: Iterable[Tally]) -> None:
        """Keep what writers have counted, in place of what they had before."""
        for tally in tallies:
            self._session.merge(CaptureTallyRow(workspace=workspace, **tally.model_dump()))
        self._session.flush()

    def totals(self, workspace: str, service: str) -> Totals:
        """What all writers have counted of a service."""
        columns = (
            CaptureTallyRow.answered,
            CaptureTallyRow.captured,
            CaptureTallyRow.sampled_out,
            CaptureTallyRow.dropped,
        )
        sums = [func.coalesce(func.sum(column), 0) for column in columns]
        row = self._session.execute(
            select(*sums).where(
                CaptureTallyRow.workspace == workspace, CaptureTallyRow.service_name == service
            )
        ).one()
        return Totals(*(int(value) for value in row))

    def tell_waiting(self, agent: str, epoch: int, waiting: dict[UUID, int]) -> None:
        """Keep how many segments an agent has still to send."""
        stream = self._stream(agent, epoch)
        stream.waiting = {str(service): count for service, count in waiting.items()}
        stream.reported_at = self._clock()
        self._session.flush()

    def waiting(self, workspace: str, service: str) -> Waiting:
        """What is still on hosts of a service, as they last said."""
        ids = self._session.scalars(
            select(CaptureTallyRow.service)
            .where(CaptureTallyRow.workspace == workspace, CaptureTallyRow.service_name == service)
            .distinct()
        ).all()
        query = select(CaptureStreamRow).join(AgentRow).where(AgentRow.workspace == workspace)
        streams = self._session.scalars(query).all()
        count = sum(stream.waiting.get(str(one), 0) for stream in streams for one in ids)
        reports = [stream.reported_at for stream in streams if stream.reported_at]
        return Waiting(count, min(reports, default=None))

    def _stream(self, agent: str, epoch: int) -> CaptureStreamRow:
        stream = self._session.get(CaptureStreamRow, agent)
        if stream is None:
            stream = CaptureStreamRow(agent=agent, epoch=epoch, next=0, waiting={})
            self._session.add(stream)
            self._session.flush()
        if epoch < stream.epoch:
            raise Conflict(
                f"the captured records of agent `{agent}` are at epoch {stream.epoch} already",
                hint="another agent took over; end this one",
            )
        if epoch > stream.epoch:
            stream.epoch, stream.next = epoch, 0
        return stream


def _segment(row: CaptureSegmentRow) -> Segment:
    return Segment(**{name: getattr(row, name) for name in _FIELDS})
