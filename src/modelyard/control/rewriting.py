"""Captured records that go, or are written anew: forgetting, joining, and what is kept no longer.

Each of them writes new files beside the old ones, changes the manifest for all of them at once, and
then puts the new ones in their places. What a killed server had begun ends at the next start.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from threading import Lock

from modelyard.capture.files import CapturedFiles
from modelyard.capture.jobs import NO_FIELD, Forgetting, Joined, Joining, Rewritten
from modelyard.control import programs
from modelyard.control.captures import refuse_nothing
from modelyard.domain.captured import LARGE, Forgotten, Segment, is_joined, joinable
from modelyard.domain.principal import Principal
from modelyard.errors import ModelyardError, NotFound, Unavailable
from modelyard.schemas import ForgetCaptured
from modelyard.store import Database

_logger = logging.getLogger("modelyard.captures")
_STRAY = timedelta(hours=1)
"""Age from which a file that nobody knows of is not on its way in any more."""
PATIENCE = 120.0
"""Seconds that new files may take: less than a client waits for them."""


class Rewriting:
    """What changes the files that are here, one thing at a time.

    Args:
        database: The manifest.
        files: The records.
        scratch: Folder of answers on their way, of which killed servers leave some.
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
                tx.sketches.expire_day(workspace, segment)
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
            NotFound: Nothing was captured of that service, or no record of it has the field, and
                none was ever forgotten that had it.
            Unavailable: It takes too long, or there is no room, and nothing has changed; or old
                files cannot be deleted yet, which the message says.
        """
        with self._changing:
            self._replace_rewritten(principal.workspace)
            self._delete_leftovers()
            with self._database.read() as tx:
                there = tx.captured.segments(principal.workspace, service)
                if not there:
                    refuse_nothing(tx, principal.workspace, service)
            segments = {one.name: one for one in there}
            self._files.rewriting.mkdir(mode=0o700, parents=True, exist_ok=True)
            wants = Forgetting(
                files=self._files.paths(there),
                folder=self._files.rewriting,
                field=wanted.field,
                value=wanted.value,
                key=self._hashing.hex(),
                decryption=self._decryption.hex(),
            )
            rewritten = _rewrite(wants)
            if rewritten is None:
                self._refuse_unknown_field(principal, service, wanted.field)
                rewritten = []
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
                if rewritten:
                    tx.captured.remember_field(principal.workspace, service, wanted.field)
                waiting = tx.captured.waiting(principal.workspace, service).segments
            self._replace_rewritten(principal.workspace)
            self._retire(olds)
        return Forgotten(
            requests=sum(one.forgotten for one in rewritten),
            rows=sum(old.rows - new.rows for old, new in zip(olds, news, strict=True)),
            segments=len(rewritten),
            waiting=waiting,
        )

    def _refuse_unknown_field(self, principal: Principal, service: str, field: str) -> None:
        """Refuse a field that no record has: a forgetting that found nothing must not look done.

        One by which records were forgotten before is known, and the last of them may be gone.
        """
        with self._database.read() as tx:
            waiting = tx.captured.waiting(principal.workspace, service).segments
            was_found = tx.captured.has_forgotten(principal.workspace, service, field)
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
        if was_found:
            return
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


def _overlap(rule: str, field: str) -> bool:
    """Whether a rule's field and another may be the same value: one ends in the other."""
    return f".{rule}".endswith(f".{field}") or f".{field}".endswith(f".{rule}")


def _rewrite(job: Forgetting) -> list[Rewritten] | None:
    """The new files; None where no record has the field."""
    done = programs.run("modelyard.capture.forgetting", job=job, patience=PATIENCE)
    if done is None:
        raise _not_forgotten("it took too long")
    if done.returncode == NO_FIELD:
        return None
    if done.returncode:
        raise _not_forgotten(programs.last_words(done))
    return [Rewritten.model_validate_json(line) for line in done.stdout.splitlines()]


def _joined(job: Joining) -> list[Joined]:
    done = programs.run("modelyard.capture.joining", job=job, patience=PATIENCE)
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
