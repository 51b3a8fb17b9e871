"""Work that is done now and then: frees bytes and rows that nothing needs any more."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from modelyard.blobs.base import BlobStore
from modelyard.control.rounds import a_round
from modelyard.control.telemetry import KEEP_MINUTES
from modelyard.store import Database

PERIOD = 3600.0
"""Seconds between two rounds."""
JOINING = 300.0
"""Seconds between two looks at small files of captured records."""

KEEP_ANSWERS = timedelta(days=7)
"""How long a request may be sent again and get the answer it got."""
KEEP_ENVIRONMENTS = timedelta(days=30)
"""How long a locked environment that no image carries is kept for the next build."""
KEEP_COMPRESSED = timedelta(days=30)
"""How long a layer is kept in gzip, too, after it was compressed to be moved."""
STRAY = timedelta(hours=24)
"""Age from which bytes that nobody recorded are not on their way in any more."""

_logger = logging.getLogger("modelyard.upkeep")


class Upkeep:
    """One thread that tidies up.

    Args:
        database: Rows that may go.
        blobs: Bytes that may go.
        renew: Sees to it that certificates last until the round after the next, at least.
        expire: Deletes captured records that are kept no longer.
        join: Writes small files of captured records into larger ones, until it is told to end.
    """

    def __init__(
        self,
        database: Database,
        blobs: BlobStore,
        renew: Callable[[], object] | None = None,
        expire: Callable[[datetime], object] | None = None,
        join: Callable[[datetime, Callable[[], bool]], object] | None = None,
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._renew = renew or (lambda: None)
        self._expire = expire or (lambda now: None)
        self._join = join or (lambda now, is_ending: None)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="upkeep", daemon=True)

    def start(self) -> None:
        """Begin with a first round."""
        self._thread.start()

    def stop(self) -> None:
        """End after the round that is running."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        tidied = -PERIOD
        while not self._stopping.is_set():
            if time.monotonic() - tidied >= PERIOD:
                tidied = time.monotonic()
                self._try(self._renew)
                self._try(self.tidy)
            self._try(lambda: self._join(datetime.now(UTC), self._stopping.is_set))
            self._stopping.wait(JOINING)

    def _try(self, work: Callable[[], object]) -> None:
        with a_round(_logger):
            work()

    def tidy(self) -> int:
        """One round; the number of blobs freed.

        A blob goes in two rounds: it is condemned in one and deleted in a later one, so that a
        registration that began in between can take it back.
        """
        now = datetime.now(UTC)
        self._blobs.sweep()
        self._take_in_strays(now)
        with self._database.write() as tx:
            tx.idempotency.expire(now - KEEP_ANSWERS)
            tx.locks.expire(now - KEEP_ENVIRONMENTS)
            tx.compressed.expire(now - KEEP_COMPRESSED)
            tx.minutes.expire(now - KEEP_MINUTES)
            doomed = tx.blobs.collect(now)
        for digest in doomed:
            self._blobs.delete(digest)
        with self._database.write() as tx:
            tx.blobs.forget(doomed)
        self._expire(now)
        return len(doomed)

    def _take_in_strays(self, now: datetime) -> None:
        """Record blobs that a killed server wrote and never recorded, so that they can go."""
        old = [blob for blob in self._blobs.walk() if now - blob.modified > STRAY]
        with self._database.write() as tx:
            unknown = set(tx.blobs.unknown([blob.digest for blob in old]))
            for blob in old:
                if blob.digest in unknown:
                    tx.blobs.record(blob.digest, blob.size, now)
