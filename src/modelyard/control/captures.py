"""Captured records: taken in from agents, listed, asked, accounted for.

What deletes them or writes them anew is in `rewriting`.
"""

from __future__ import annotations

import logging
import signal
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path
from threading import BoundedSemaphore, Lock
from typing import Any, NoReturn

import orjson

from modelyard.capture.files import Arrival, CapturedFiles
from modelyard.capture.jobs import Question
from modelyard.control import programs
from modelyard.domain.captured import Account, Segment, Tally
from modelyard.domain.principal import Principal
from modelyard.errors import (
    Conflict,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    Unavailable,
)
from modelyard.schemas import AskCaptured, CaptureReceipt, CaptureReport
from modelyard.store import Database, Transaction

_logger = logging.getLogger("modelyard.captures")
PATIENCE = 60.0
"""Seconds on the clock that an answer may take: less than a client waits for one."""
MOST_QUESTIONS = 4
"""Questions in SQL that are answered at once: each may take a few cores, and up to 4 GiB."""
LONGEST_WAIT = 15.0
"""Seconds that another one waits for its turn."""
_LISTED = 10
"""Services with records that a hint names."""
_DECRYPT = "decrypt"
"""The function that has a question given the key; others have no need of it."""
_COUNT = (
    "SELECT count(*), count(DISTINCT prediction_id), count(DISTINCT prediction_id) "
    "FILTER (withheld IS NOT NULL) FROM requests"
)


class Captures:
    """What agents and callers may do with captured records.

    Args:
        database: The manifest.
        files: The records.
        scratch: Folder for answers on their way.
        decryption: The private key of values that are recorded encrypted; empty: they stay so.
    """

    def __init__(
        self,
        database: Database,
        files: CapturedFiles,
        scratch: Path,
        decryption: bytes = b"",
    ) -> None:
        self._database = database
        self._files = files
        self._scratch = scratch
        self._decryption = decryption
        self._coming: set[str] = set()
        """Names of segments that are just coming in."""
        self._counting = Lock()
        self._answering = BoundedSemaphore(MOST_QUESTIONS)

    def receive(self) -> AbstractContextManager[Arrival]:
        """Begin to take a file in."""
        return self._files.receive()

    def add(
        self,
        principal: Principal,
        agent: str,
        epoch: int,
        sequence: int,
        segment: Segment,
        arrival: Arrival,
    ) -> CaptureReceipt:
        """Keep a file that has arrived: once, however often it is sent.

        Raises:
            IntegrityError: It is not what the segment says.
            Conflict: The epoch is older than one that was seen, or another number was expected
                and the segment is not here.
            PermissionDenied: The service is another agent's.
            Unavailable: It is just coming in, by a request that was given up.
        """
        with self._alone(segment.name):
            return self._add(principal, agent, epoch, sequence, segment, arrival)

    @contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        """While a segment comes in: a late second one would undo what was forgotten in the first.

        Raises:
            Unavailable: It does already.
        """
        with self._counting:
            if name in self._coming:
                raise Unavailable(
                    f"captured segment `{name}` is just coming in", hint="the agent sends it again"
                )
            self._coming.add(name)
        try:
            yield
        finally:
            with self._counting:
                self._coming.discard(name)

    def _add(
        self,
        principal: Principal,
        agent: str,
        epoch: int,
        sequence: int,
        segment: Segment,
        arrival: Arrival,
    ) -> CaptureReceipt:
        with self._database.write() as tx:
            _refuse_others(tx, principal.workspace, agent, [segment])
            expected = tx.captured.expected(agent, epoch)
            is_new = not tx.captured.has(principal.workspace, segment.name)
            if sequence != expected:
                if is_new:  # to acknowledge it by the number alone would lose it
                    raise _out_of_step(agent, sequence, expected)
                return CaptureReceipt(next=expected)
        if is_new:
            self._files.place(segment, arrival)  # first: a row without a file would be a lie
        with self._database.write() as tx:
            tx.captured.add(principal.workspace, agent, epoch, segment)
            return CaptureReceipt(next=tx.captured.expected(agent, epoch))

    def report(self, principal: Principal, agent: str, report: CaptureReport) -> None:
        """Keep what an agent's writers have counted, and how much is still on its way.

        Raises:
            PermissionDenied: One of the services is another agent's.
        """
        with self._database.write() as tx:
            _refuse_others(tx, principal.workspace, agent, report.tallies)
            tx.captured.count(principal.workspace, report.tallies)
            tx.captured.tell_waiting(agent, report.epoch, report.waiting)

    def segments(
        self,
        principal: Principal,
        service: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> tuple[Segment, ...]:
        """Files of records, oldest first.

        Raises:
            NotFound: There is no such service, and nothing was captured of one.
            InvalidRequest: The time ends before it begins.
        """
        check_order(since, until)
        with self._database.read() as tx:
            segments = tx.captured.segments(principal.workspace, service, since, until)
            if service and not segments:
                _refuse_unknown(tx, principal.workspace, service)
            return segments

    def files(
        self,
        principal: Principal,
        service: str,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> tuple[Path, ...]:
        """Files of records of a service, oldest first.

        Raises:
            NotFound: There are none.
        """
        return self._files.paths(self.recorded(principal, service, since, until))

    def recorded(
        self,
        principal: Principal,
        service: str | None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> tuple[Segment, ...]:
        """What those files are; without a service those of all.

        Raises:
            NotFound: There are none.
        """
        check_order(since, until)
        with self._database.read() as tx:
            segments = tx.captured.segments(principal.workspace, service, since, until)
            if not segments:
                refuse_nothing(tx, principal.workspace, service, has_bounds=bool(since or until))
            return segments

    @contextmanager
    def ask(self, principal: Principal, asked: AskCaptured) -> Iterator[Path]:
        """A file with the answer to SQL; it is gone afterwards.

        Raises:
            NotFound: Nothing was captured of that service.
            InvalidRequest: The SQL is wrong, or more than a `SELECT`.
            Unavailable: It takes too long, a file is gone, or too many others are being answered.
        """
        segments = self.recorded(principal, asked.service, asked.since, asked.until)
        if _DECRYPT in asked.sql.lower():
            _logger.info("`%s` asks captured records in SQL with %s", principal.name, _DECRYPT)
        with self._answer(asked, segments) as answer:
            yield answer

    @contextmanager
    def _answer(self, asked: AskCaptured, segments: Sequence[Segment]) -> Iterator[Path]:
        self._scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._scratch) as folder:
            answer = Path(folder) / "answer"
            files = self._files.paths(segments)
            question = Question(
                sql=asked.sql,
                files=files,
                form=asked.form,
                most_rows=asked.most_rows,
                answer=answer,
                decryption=self._decryption.hex() if _DECRYPT in asked.sql.lower() else "",
            )
            try:
                with self._turn():
                    _run(question)
            except InvalidRequest:  # which blames the SQL
                _refuse_missing(files)
                raise
            yield answer

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """One of the few questions that are answered at once.

        Raises:
            Unavailable: Others have taken all the time that there was to wait.
        """
        if not self._answering.acquire(timeout=LONGEST_WAIT):
            raise Unavailable(
                f"{MOST_QUESTIONS} questions about captured records are being answered, and there "
                f"was no turn for another within {LONGEST_WAIT:.0f} s",
                hint="ask again in a minute; about a shorter time, with --since, each takes less",
            )
        try:
            yield
        finally:
            self._answering.release()

    def account(self, principal: Principal, service: str) -> Account:
        """What became of the requests to a service, by reading every record.

        Raises:
            NotFound: Nothing was captured of that service.
        """
        with self._database.read() as tx:
            if service not in tx.captured.services(principal.workspace):
                refuse_nothing(tx, principal.workspace, service)
            totals = tx.captured.totals(principal.workspace, service)
            deleted = tx.captured.deleted_requests(principal.workspace, service)
            forgotten = tx.captured.forgotten_requests(principal.workspace, service)
            waiting = tx.captured.waiting(principal.workspace, service)
            segments = tx.captured.segments(principal.workspace, service)
        captured = deleted + forgotten
        doubled = withheld = 0
        if segments:
            with self.ask(principal, AskCaptured(sql=_COUNT, service=service)) as path:
                rows, distinct, withheld = _rows(path)[0]
            captured += distinct
            doubled = rows - distinct
        missing = totals.answered - captured - totals.sampled_out - totals.dropped
        return Account(
            service=service,
            answered=totals.answered,
            captured=captured,
            sampled_out=totals.sampled_out,
            dropped=totals.dropped,
            doubled=doubled,
            forgotten=forgotten,
            withheld=withheld,
            waiting=waiting.segments,
            as_of=waiting.as_of,
            missing=missing,
        )


def check_order(since: datetime | None, until: datetime | None) -> None:
    """Refuse a time in which nothing can lie.

    Raises:
        InvalidRequest: It ends before it begins.
    """
    if since is not None and until is not None and until <= since:
        raise InvalidRequest(
            f"{until:%Y-%m-%d %H:%M} is not after {since:%Y-%m-%d %H:%M}",
            hint="`since` is the earlier time, `until` the later one",
        )


def refuse_nothing(
    tx: Transaction,
    workspace: str,
    service: str | None,
    what: str = "no captured records",
    *,
    has_bounds: bool = False,
) -> NoReturn:
    """Say that there are no records of a service, or of any, and what would bring some.

    Args:
        tx: The manifest.
        workspace: Whose.
        service: Its name; None: there are none of any service.
        what: There is not, in words: `no captured request`.
        has_bounds: It was asked about a time, and of another there may be some.

    Raises:
        NotFound: Always; a service that there is not is called so.
    """
    if service:
        _refuse_unknown(tx, workspace, service)
    there = f"there are {what}{f' of service `{service[:100]}`' if service else ''}"
    if has_bounds and tx.captured.segments(workspace, service):
        listing = f"modelyard capture list{f' {service}' if service else ''}"
        raise NotFound(
            f"{there} of this time",
            hint=f"`{listing}` shows of which times there are some; records come in some seconds "
            "after their requests",
        )
    if _is_on(tx, workspace, service):
        raise NotFound(
            f"{there}: capture is on, but nothing has come in yet",
            hint="records come in some seconds after their requests"
            + (f"; `modelyard capture verify {service}` waits for them" if service else ""),
        )
    raise NotFound(
        f"{there}: capture is off",
        hint=f"`modelyard service update {service or 'NAME'} --capture 100%` switches it on; "
        "records come in some seconds after their requests",
    )


def _is_on(tx: Transaction, workspace: str, service: str | None) -> bool:
    """Whether requests to a service, or to any, are recorded; to one that is gone they are not."""
    names = tx.services.names(workspace)
    return any(
        tx.services.get(workspace, name).settings.capture > 0
        for name in ([service] if service else names)
        if name in names
    )


def _refuse_unknown(tx: Transaction, workspace: str, service: str) -> None:
    """Refuse what is neither a service nor one that is gone and has left records."""
    living, recorded = tx.services.names(workspace), tx.captured.services(workspace)
    if service in living or service in recorded:
        return
    try:
        tx.services.get(workspace, service[:100])  # which names the services that there are
    except NotFound as error:
        if not recorded:
            raise
        named = ", ".join(f"`{one}`" for one in recorded[:_LISTED])
        hint = (
            f"{error.hint}{'' if error.hint.endswith('?') else ';'} there are records of: {named}"
        )
        raise NotFound(error.message, hint=hint, details=error.details) from None


def _refuse_others(
    tx: Transaction, workspace: str, agent: str, told: Iterable[Segment | Tally]
) -> None:
    """An agent is believed about its services, and about those that are gone."""
    living, own = tx.services.names(workspace), tx.services.of_agent(agent)
    for one in told:
        holder = living.get(one.service_name, one.service)
        is_other = one.service in living.values() and own.get(one.service) != one.service_name
        if is_other or (one.service_name in living and holder not in own):
            raise PermissionDenied(
                f"agent `{agent}` sent records of service `{one.service_name}`, which is not its",
                hint="records come from the host that the service runs on",
            )


def _run(question: Question) -> None:
    done = programs.run("modelyard.capture.asking", job=question, patience=PATIENCE)
    if done is None or done.returncode == -signal.SIGXCPU:
        raise Unavailable(
            f"the question takes too long: it was ended after {question.seconds} s of processor "
            f"time, or {PATIENCE:.0f} s on the clock",
            hint="ask about a shorter time with `since`, for fewer columns, or without a join of "
            "everything with everything",
        )
    if done.returncode < 0:
        raise Unavailable(
            "the question takes too much memory",
            hint="ask about a shorter time with `since`, or for fewer columns",
        )
    if done.returncode:
        raise InvalidRequest(
            f"the SQL cannot be answered: {done.stderr.decode(errors='replace').strip()[:2000]}",
            hint="ask with one SELECT from `requests`, `rows`, `collected`, `feedback` or "
            "`labelled`; `SELECT * FROM requests LIMIT 1` shows what there is",
        )


def _refuse_missing(files: Sequence[Path]) -> None:
    missing = [path for path in files if not path.exists()]
    if missing:
        raise Unavailable(
            f"{len(missing)} files of records are gone, such as `{missing[0].name}`",
            hint="ask again: they may have been deleted meanwhile, for their age or their size; "
            "put back what somebody has taken away, or ask with `since` about what is there",
        )


def _out_of_step(agent: str, sequence: int, expected: int) -> Conflict:
    return Conflict(
        f"captured records of agent `{agent}` came as number {sequence}, and {expected} was "
        "expected",
        hint="the agent begins a new epoch by itself",
    )


def _rows(path: Path) -> list[list[Any]]:
    rows: list[list[Any]] = orjson.loads(path.read_bytes())["rows"]
    return rows
