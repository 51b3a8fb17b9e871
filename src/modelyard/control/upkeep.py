"""Work that is done now and then: frees blobs that nothing refers to."""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime

from modelyard.blobs.base import BlobStore
from modelyard.errors import ModelyardError
from modelyard.store import Database

PERIOD = 3600.0
"""Seconds between two rounds."""

_logger = logging.getLogger("modelyard.upkeep")


class Upkeep:
    """One thread that tidies up."""

    def __init__(self, database: Database, blobs: BlobStore) -> None:
        self._database = database
        self._blobs = blobs
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
        while not self._stopping.is_set():
            try:
                self.tidy()
            except ModelyardError as error:
                _logger.warning("will try again: %s", error)
            except Exception:
                _logger.exception("will try again")
            self._stopping.wait(PERIOD)

    def tidy(self) -> int:
        """One round; the number of blobs freed.

        A blob goes in two rounds: it is condemned in one and deleted in a later one, so that a
        registration that began in between can take it back.
        """
        self._blobs.sweep()
        with self._database.write() as tx:
            doomed = tx.blobs.collect(datetime.now(UTC))
        for digest in doomed:
            self._blobs.delete(digest)
        with self._database.write() as tx:
            tx.blobs.forget(doomed)
        return len(doomed)
