"""Logs of replicas: numbered pieces from agents, kept up to a bound, read line by line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import Row, delete, select

from modelyard.domain.operation import LogLine
from modelyard.errors import Conflict, NotFound
from modelyard.schemas import LogSegment
from modelyard.store.repository import Repository
from modelyard.store.rows import LogPieceRow, LogStreamRow, ServiceRow

MOST_KEPT = 16 << 20
"""Bytes kept of one replica's log; the oldest pieces go first."""

MOST_REPLICAS = 64
"""Replicas of one service whose logs are kept."""

_STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
"""What a supervisor writes in front of every line: when it was printed."""

_OF_REQUEST = re.compile(r"request (\S{1,120}): ")
"""What the runtime writes in front of the lines of a request."""

_PIECES = 16
"""Pieces read at once; one is 1 MiB at most."""


class Logs(Repository):
    """Logs by service and replica. A line's sequence counts within its service, from 1."""

    def add_segment(self, agent: str, segment: LogSegment) -> int:
        """Keep a piece; the sequence that is expected next from this replica.

        A piece that came before is not stored again, one beyond the expected is not stored at
        all: the answer says where to go on. A higher epoch starts again at 0. Pieces of a service
        that this agent does not run (any more) are acknowledged and dropped.

        Raises:
            Conflict: The epoch is older than one that was seen.
        """
        query = select(ServiceRow).where(
            ServiceRow.id == segment.service, ServiceRow.agent == agent
        )
        service = self._session.scalar(query)
        if service is None:
            return segment.sequence + 1
        stream = self._stream(service, segment)
        if segment.sequence == stream.next:
            self._append(service, stream, segment.text)
            self._drop_oldest(stream)
        self._session.flush()
        return stream.next

    def read(self, service: UUID, replica: str | None, after: int, limit: int) -> list[LogLine]:
        """Lines with a sequence above `after`, oldest first; of one replica or of all.

        Raises:
            NotFound: There is no service with this id.
        """
        found: list[LogLine] = []
        seq = self._seq(service)
        while len(found) < limit:
            pieces = self._pieces(seq, replica, after)
            if not pieces:
                break
            for piece, name in pieces:
                lines = _lines(piece, name)
                found.extend(line for line in lines if line.sequence > after)
                after = piece.first + piece.lines - 1
        return found[:limit]

    def position(self, service: UUID, replica: str | None, tail: int) -> int:
        """The sequence after which the last `tail` lines begin; 0 when there are fewer.

        Raises:
            NotFound: There is no service with this id.
        """
        query = (
            select(LogPieceRow.first, LogPieceRow.lines)
            .where(LogPieceRow.service == self._seq(service))
            .order_by(LogPieceRow.first.desc())
        )
        if replica is not None:
            query = query.join(LogStreamRow).where(LogStreamRow.replica == replica)
        last = 0
        for first, lines in self._session.execute(query):
            last = first + lines - 1
            if lines >= tail:
                return last - tail
            tail -= lines
        return 0

    def replicas(self, service: UUID) -> tuple[str, ...]:
        """Replicas whose logs are kept, by name.

        Raises:
            NotFound: There is no service with this id.
        """
        query = select(LogStreamRow.replica).where(LogStreamRow.service == self._seq(service))
        return tuple(self._session.scalars(query.order_by(LogStreamRow.replica)))

    def dropped(self, service: UUID, replica: str) -> int:
        """Bytes of a replica's log that are not kept any more."""
        query = select(LogStreamRow.dropped).where(
            LogStreamRow.service == self._seq(service), LogStreamRow.replica == replica
        )
        return self._session.scalar(query) or 0

    def _seq(self, service: UUID) -> int:
        seq = self._session.scalar(select(ServiceRow.seq).where(ServiceRow.id == service))
        if seq is None:
            raise NotFound(f"service `{service}` not found", hint="it may have been deleted")
        return seq

    def _stream(self, service: ServiceRow, segment: LogSegment) -> LogStreamRow:
        query = select(LogStreamRow).where(
            LogStreamRow.service == service.seq, LogStreamRow.replica == segment.replica
        )
        stream = self._session.scalar(query)
        if stream is None:
            return self._begin(service, segment)
        if segment.epoch < stream.epoch:
            raise Conflict(
                f"the log of replica `{segment.replica}` is at epoch {stream.epoch} already",
                hint="another agent took over; end this one",
            )
        if segment.epoch > stream.epoch:
            stream.epoch, stream.next = segment.epoch, 0
        return stream

    def _begin(self, service: ServiceRow, segment: LogSegment) -> LogStreamRow:
        self._drop_streams(service)
        stream = LogStreamRow(
            service=service.seq,
            replica=segment.replica,
            epoch=segment.epoch,
            next=0,
            kept=0,
            dropped=0,
            updated_at=self._clock(),
        )
        self._session.add(stream)
        self._session.flush()
        return stream

    def _drop_streams(self, service: ServiceRow) -> None:
        """Make room for one more replica: the one silent for the longest time goes."""
        query = select(LogStreamRow.seq).where(LogStreamRow.service == service.seq)
        query = query.order_by(LogStreamRow.updated_at.desc(), LogStreamRow.seq.desc())
        gone = list(self._session.scalars(query.offset(MOST_REPLICAS - 1)))
        self._session.execute(delete(LogStreamRow).where(LogStreamRow.seq.in_(gone)))

    def _append(self, service: ServiceRow, stream: LogStreamRow, text: str) -> None:
        stream.next += 1
        stream.updated_at = self._clock()
        text = text.removesuffix("\n")
        if not text:
            return
        piece = LogPieceRow(
            service=service.seq,
            first=service.log_lines + 1,
            lines=text.count("\n") + 1,
            stream=stream.seq,
            text=text,
            size=len(text.encode(errors="replace")),
            time=stream.updated_at,
        )
        service.log_lines += piece.lines
        stream.kept += piece.size
        self._session.add(piece)
        self._session.flush()

    def _drop_oldest(self, stream: LogStreamRow) -> None:
        while stream.kept > MOST_KEPT:
            oldest = self._session.scalars(
                select(LogPieceRow)
                .where(LogPieceRow.stream == stream.seq)
                .order_by(LogPieceRow.first)
                .limit(1)
            ).one()
            stream.kept -= oldest.size
            stream.dropped += oldest.size
            self._session.delete(oldest)
            self._session.flush()

    def _pieces(
        self, service: int, replica: str | None, after: int
    ) -> Sequence[Row[LogPieceRow, str]]:
        query = (
            select(LogPieceRow, LogStreamRow.replica)
            .join(LogStreamRow, LogStreamRow.seq == LogPieceRow.stream)
            .where(
                LogPieceRow.service == service, LogPieceRow.first + LogPieceRow.lines > after + 1
            )
            .order_by(LogPieceRow.first)
            .limit(_PIECES)
        )
        if replica is not None:
            query = query.where(LogStreamRow.replica == replica)
        return self._session.execute(query).all()


def _lines(piece: LogPieceRow, replica: str) -> Iterator[LogLine]:
    for sequence, line in enumerate(piece.text.split("\n"), start=piece.first):
        stamp, _, text = line.partition(" ")
        if not _STAMP.fullmatch(stamp):
            stamp, text = "", line
        time = datetime.fromisoformat(stamp) if stamp else piece.time
        request, text = _request(text)
        yield LogLine(sequence=sequence, time=time, source=replica, request=request, text=text)


def _request(text: str) -> tuple[str, str]:
    """The request that a line belongs to, and what it says."""
    found = _OF_REQUEST.match(text)
    return (found[1], text[found.end() :]) if found else ("", text)
