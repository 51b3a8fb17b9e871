"""Captured records: taken in from agents, listed, asked, accounted for."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from threading import Lock
from typing import Any, NoReturn

import orjson

from modelyard.capture.files import Arrival, CapturedFiles
from modelyard.capture.jobs import NO_FIELD, Forgetting, Joined, Joining, Question, Rewritten
from modelyard.control import programs
from modelyard.domain.captured import LARGE, Account, Forgotten, Segment, Tally, is_joined, joinable
from modelyard.domain.principal import Principal
from modelyard.errors import (
    Conflict,
    InvalidRequest,
    ModelyardError,
    NotFound,
    PermissionDenied,
    Unavailable,
)
from modelyard.schemas import AskCaptured, CaptureReceipt, CaptureReport, ForgetCaptured
from modelyard.store import Database, Transaction

_logger = logging.getLogger("modelyard.captures")
_STRAY = timedelta(hours=1)
"""Age from which a file that nobody knows of is not on its way in any more."""
_PATIENCE = 120.0
"""Seconds that an answer may take."""
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
        hashing: The key of values that are recorded as hashes.
        decryption: The private key of values that are recorded encrypted; empty: they stay so.
    """

    def __init__(
        self,
        database: Database,
        files: CapturedFiles,
        scratch: Path,
        hashing: bytes,
        decryption: bytes = b"",
    ) -> None:
        self._database = database
        self._files = files
        self._scratch = scratch
        self._hashing = hashing
        self._decryption = decryption
        self._changing = Lock()
        """Held by whoever deletes."""
        self._coming: set[str] = set()
        """Names of segments that are just coming in."""
        self._counting = Lock()

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
        """
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
        service: str,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> tuple[Segment, ...]:
        """What those files are.

        Raises:
            NotFound: There are none.
        """
        segments = self.segments(principal, service, since, until)
        if not segments:
            self._refuse_nothing(principal, service)
        return segments

    @contextmanager
    def ask(self, principal: Principal, asked: AskCaptured) -> Iterator[Path]:
        """A file with the answer to SQL; it is gone afterwards.

        Raises:
            NotFound: Nothing was captured of that service.
            InvalidRequest: The SQL is wrong, or more than a `SELECT`.
            Unavailable: It takes too long, or a file is gone.
        """
        segments = self.segments(principal, asked.service, asked.since, asked.until)
        if not segments:
            self._refuse_nothing(principal, asked.service)
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
                _run(question)
            except InvalidRequest:  # which blames the SQL
                _refuse_missing(files)
                raise
            yield answer

    def expire(self, workspace: str, now: datetime, days: float, most: int) -> int:
        """Delete the oldest files, and what nobody knows of; the number of those that went.

        Args:
            workspace: Whose.
            now: The time.
            days: Files go whose last record is older; 0: none for their age.
            most: Bytes that may stay; 0: none go for their size.
        """
        with self._changing:
            return self._expire(workspace, now, days, most)

    def _expire(self, workspace: str, now: datetime, days: float, most: int) -> int:
        with self._database.read() as tx:
            segments = tx.captured.segments(workspace)
        kept = sum(segment.size for segment in segments)
        gone = self._sweep(now)
        if days:
            with self._database.write() as tx:
                tx.sketches.expire(workspace, (now - timedelta(days=days)).date())
        for segment in segments:
            is_old = days and now - segment.last > timedelta(days=days)
            if not is_old and not (most and kept > most):
                continue
            with self._database.write() as tx:
                tx.captured.delete(workspace, segment.name)
            self._files.delete(segment)
            kept -= segment.size
            gone += 1
        return gone

    def _sweep(self, now: datetime) -> int:
        """Delete what killed servers have left."""
        before = now - _STRAY
        for path in self._scratch.glob("*"):
            with suppress(OSError):  # it has gone meanwhile
                if path.stat().st_mtime < before.timestamp():
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
        return self._files.sweep(self._live, before)

    def _live(self) -> dict[str, str]:
        with self._database.read() as tx:
            return tx.captured.live()

    def forget(self, principal: Principal, service: str, wanted: ForgetCaptured) -> Forgotten:
        """Delete the records of requests to a service that have a value in a field.

        It is looked for in inputs, outputs and what scripts have collected, in the clear, hashed
        and encrypted. The other records of each file go into a new one, the manifest changes for
        all files at once, and then the new ones replace the old ones.

        Raises:
            NotFound: Nothing was captured of that service, or no record of it has the field.
            Unavailable: It takes too long, or there is no room, and nothing has changed; or old
                files cannot be deleted yet, which the message says.
        """
        with self._changing:
            self._replace_rewritten(principal.workspace)
            self._delete_leftovers()
            segments = {one.name: one for one in self.segments(principal, service)}
            if not segments:
                self._refuse_nothing(principal, service)
            self._files.rewriting.mkdir(mode=0o700, parents=True, exist_ok=True)
            wants = Forgetting(
                files=self._files.paths(tuple(segments.values())),
                folder=self._files.rewriting,
                field=wanted.field,
                value=wanted.value,
                key=self._hashing.hex(),
                decryption=self._decryption.hex(),
            )
            rewritten = _rewrite(wants)
            if rewritten is None:
                self._refuse_field(principal, service, wanted.field)
            olds = [segments[one.name] for one in rewritten]
            news = [
                old.model_copy(update=one.model_dump(exclude={"forgotten"}))
                for old, one in zip(olds, rewritten, strict=True)
            ]
            for new in news:
                self._files.stage(new)
            with self._database.write() as tx:
                for new, one in zip(news, rewritten, strict=True):
                    tx.captured.rewrite(principal.workspace, new, one.forgotten)
                    tx.sketches.forget_day(principal.workspace, new)
                waiting = tx.captured.waiting(principal.workspace, service).segments
            self._replace_rewritten(principal.workspace)
            self._retire(olds)
        return Forgotten(
            requests=sum(one.forgotten for one in rewritten),
            rows=sum(old.rows - new.rows for old, new in zip(olds, news, strict=True)),
            segments=len(rewritten),
            waiting=waiting,
        )

    def _refuse_field(self, principal: Principal, service: str, field: str) -> NoReturn:
        """Say that no record has a field: a forgetting that found nothing must not look done."""
        with self._database.read() as tx:
            waiting = tx.captured.waiting(principal.workspace, service).segments
            is_known = service in tx.services.names(principal.workspace)
            rules = (
                tx.services.get(principal.workspace, service).settings.capture_drop
                if is_known
                else ()
            )
        rule = next((rule for rule in rules if _overlap(rule, field)), None)
        if rule is not None:
            raise NotFound(
                f"no record of service `{service}` has a field `{field}`: the rule `--capture-drop "
                f"{rule}` leaves it out, so requests cannot be found by it, and nothing was "
                "forgotten",
                hint="name a field that is recorded, and what it is in those requests",
            )
        late = f"; {waiting} files are still on their way: or try again later" if waiting else ""
        raise NotFound(
            f"no record of service `{service}` has a field `{field}`, and nothing was forgotten",
            hint="`modelyard capture query` shows what fields `inputs` and `outputs` in the view "
            f"`requests` have{late}",
        )

    def join(
        self, workspace: str, now: datetime, is_ending: Callable[[], bool] = lambda: False
    ) -> int:
        """Write small files into larger ones; the number of those that are in others now.

        A new file is placed first, and then the manifest changes, all at once. The old ones stay
        for a while, for those who read them.
        """
        with self._changing, self._database.read() as tx:
            sketched = tx.sketches.sketched_files(workspace)
            groups = joinable(tx.captured.segments(workspace), now, sketched)
        done = 0
        for group in groups:
            if is_ending():
                break
            try:
                done += self._join(workspace, group)
            except ModelyardError as error:  # the others do not wait for it
                _logger.warning("%s", error)
        return done

    def _join(self, workspace: str, group: Sequence[Segment]) -> int:
        with self._changing:
            self._replace_rewritten(workspace)
            self._files.rewriting.mkdir(mode=0o700, parents=True, exist_ok=True)
            known = {one.name: one for one in group}
            files = self._files.paths(group)
            done = 0
            for one in _joined(Joining(files=files, folder=self._files.rewriting, most=LARGE)):
                parts = [known[name] for name in one.parts]
                new = parts[0].model_copy(
                    update={
                        **one.model_dump(exclude={"parts"}),
                        "first": min(part.first for part in parts),
                        "last": max(part.last for part in parts),
                    }
                )
                self._files.replace(new)
                with self._database.write() as tx:
                    digests = {part.name: part.digest for part in parts}
                    if not tx.captured.join(workspace, new, digests):
                        continue  # what was placed goes when leftovers do
                done += len(parts)
                for part in parts:
                    self._files.keep_awhile(part)
            self._files.clear_rewritten()
        return done

    def _delete_leftovers(self) -> None:
        """Delete files that are placed and have no say any more: deleted, or joined."""
        there, live = self._files.names(), self._live()
        names = [name for name in there if name not in live]
        with self._database.read() as tx:
            gone = tx.captured.deleted(names)
        leftovers = {name for name in names if name in gone or is_joined(name)}
        if leftovers:
            self._files.remove(leftovers)

    def _retire(self, olds: Sequence[Segment]) -> None:
        """Delete the files that others have replaced."""
        try:
            for old in olds:
                self._files.retire(old)
        except Unavailable as error:
            raise Unavailable(
                "the records are forgotten here, but not all of their old files are deleted yet: "
                f"{error.message}",
                hint="the server deletes them within the hour after the store is back",
            ) from error

    def recover(self, workspace: str) -> None:
        """End what a killed server had begun to forget or to join; at start."""
        with self._changing:
            try:
                self._replace_rewritten(workspace)
                self._delete_leftovers()
            except Unavailable as error:  # a later forgetting ends it
                _logger.warning("%s", error)

    def _replace_rewritten(self, workspace: str) -> None:
        """Put new files that the manifest has in their places, and delete others."""
        digests = self._files.rewritten()
        if digests:
            with self._database.read() as tx:
                segments = tx.captured.segments(workspace)
            for segment in segments:
                if digests.get(segment.name) == segment.digest:
                    self._files.replace(segment)
        self._files.clear_rewritten()

    def account(self, principal: Principal, service: str) -> Account:
        """What became of the requests to a service, by reading every record.

        Raises:
            NotFound: Nothing was captured of that service.
        """
        with self._database.read() as tx:
            if service not in tx.captured.services(principal.workspace):
                self._refuse_nothing(principal, service)
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

    def _refuse_nothing(self, principal: Principal, service: str | None) -> NoReturn:
        with self._database.read() as tx:
            if service:
                _refuse_unknown(tx, principal.workspace, service)
        what = f"of service `{service[:100]}`" if service else "here"
        raise NotFound(
            f"nothing that was captured {what} has come in yet",
            hint=f"`modelyard service update {service or 'NAME'} --capture 100%` switches it on; "
            "records come in some seconds after their requests",
        )


def _refuse_unknown(tx: Transaction, workspace: str, service: str) -> None:
    """Refuse what is neither a service nor one that is gone and has left records."""
    living, recorded = tx.services.names(workspace), tx.captured.services(workspace)
    if service in living or service in recorded:
        return
    if not recorded:
        tx.services.get(workspace, service)  # which names the services that there are
    raise NotFound(
        f"service `{service[:100]}` not found in workspace `{workspace}`",
        hint=f"there are records of: {', '.join(recorded)}",
    )


def _overlap(rule: str, field: str) -> bool:
    """Whether a rule's field and another may be the same value: one ends in the other."""
    return f".{rule}".endswith(f".{field}") or f".{field}".endswith(f".{rule}")


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
    done = programs.run("modelyard.capture.asking", job=question, patience=_PATIENCE)
    if done is None or done.returncode < 0:
        raise _too_slow()
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
            "put back what somebody has taken away, or ask with --since about what is there",
        )


def _rewrite(job: Forgetting) -> list[Rewritten] | None:
    """The new files; None where no record has the field."""
    done = programs.run("modelyard.capture.forgetting", job=job, patience=_PATIENCE)
    if done is None:
        raise _not_forgotten("it took too long")
    if done.returncode == NO_FIELD:
        return None
    if done.returncode:
        raise _not_forgotten(programs.last_words(done))
    return [Rewritten.model_validate_json(line) for line in done.stdout.splitlines()]


def _joined(job: Joining) -> list[Joined]:
    done = programs.run("modelyard.capture.joining", job=job, patience=_PATIENCE)
    if done is None or done.returncode:
        raise Unavailable(
            "small files of captured records cannot be joined: "
            f"{programs.last_words(done) if done else 'it took too long'}",
            hint="see to the disk and the memory of the server",
        )
    return [Joined.model_validate_json(line) for line in done.stdout.splitlines()]


def _not_forgotten(why: str) -> Unavailable:
    return Unavailable(
        f"captured records cannot be written anew, and nothing has changed: {why}",
        hint="see to the disk and the memory of the server, and try again",
    )


def _out_of_step(agent: str, sequence: int, expected: int) -> Conflict:
    return Conflict(
        f"captured records of agent `{agent}` came as number {sequence}, and {expected} was "
        "expected",
        hint="the agent begins a new epoch by itself",
    )


def _too_slow() -> Unavailable:
    return Unavailable(
        "the question took too long, or too much memory",
        hint="ask about a shorter time with --since, or for fewer columns",
    )


def _rows(path: Path) -> list[list[Any]]:
    rows: list[list[Any]] = orjson.loads(path.read_bytes())["rows"]
    return rows
