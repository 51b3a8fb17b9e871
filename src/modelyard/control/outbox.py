"""Sends the messages of alerts that are in the database, until each has arrived or is too old.

A message is there from the transaction on that says that an alert fires, so no kill loses it. One
that had arrived when the server was killed may arrive once more, with the same id.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from modelyard.control.rounds import a_round
from modelyard.control.sending.base import NotSent, Sender
from modelyard.domain.channel import ChannelKind
from modelyard.store import Database
from modelyard.store.alerts import Parcel

_THREADS = 4
_MOST = 100
"""Messages to one channel that are looked at together."""
_FIRST = 10.0
_LONGEST = 900.0
"""Seconds until the second attempt, and between two of many."""
_TOO_OLD = timedelta(days=1)
_IDLE = 30.0
_BETWEEN = 1.0
"""Seconds between two rounds at least: a channel that is full of news gets them one by one."""
_logger = logging.getLogger("modelyard.alerts")


class Outbox:
    """One thread that sees to messages, and a few that send them.

    Args:
        database: Where they are.
        senders: How they go, by the kind of channel.
        clock: The time.
    """

    def __init__(
        self,
        database: Database,
        senders: Mapping[ChannelKind, Sender],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._senders = senders
        self._clock = clock
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)

    def start(self) -> None:
        """Begin with what a server before this one left."""
        self._thread.start()

    def wake(self) -> None:
        """There may be something new."""
        self._woken.set()

    def stop(self) -> None:
        """Begin nothing more; what is being sent ends by itself, and is sent again if need be."""
        self._stopping.set()
        self._woken.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            wait = _IDLE
            with a_round(_logger):
                self.deliver()
                wait = self._until_next()
            self._woken.wait(wait)
            self._woken.clear()

    def deliver(self) -> None:
        """Send what is due: to several channels at once, to each of them one after the other."""
        with self._database.read() as tx:
            due = tx.alerts.due(_MOST)
        channels: dict[tuple[str, str], list[Parcel]] = {}
        for parcel in due:
            channels.setdefault((parcel.route.workspace, parcel.route.name), []).append(parcel)
        if not channels:
            return
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="sending") as executor:
            for done in [executor.submit(self._send_all, parcels) for parcels in channels.values()]:
                done.result()

    def _send_all(self, parcels: Sequence[Parcel]) -> None:
        """Send to one channel, until something does not arrive: the rest would not either."""
        for parcel in parcels:
            if self._stopping.is_set() or not self._send(parcel):
                return

    def _send(self, parcel: Parcel) -> bool:
        try:
            sender = self._senders.get(parcel.route.kind)
            if sender is None:
                raise NotSent("the server's settings for this kind of channel are gone")
            sender.send(parcel.route, parcel.message)
        except NotSent as error:
            self._put_off(parcel, str(error))
            return False
        except Exception:
            _logger.exception("sending to %s", parcel.route.name)
            self._put_off(parcel, "the server failed; its log has the reason")
            return False
        with self._database.write() as tx:
            tx.alerts.arrived(parcel.message.id)
        return True

    def _put_off(self, parcel: Parcel, error: str) -> None:
        again: timedelta | None = timedelta(seconds=pause(parcel.attempts))
        if self._clock() - parcel.created_at > _TOO_OLD:
            again = None
        what = "given up" if again is None else "will try again"
        _logger.warning("%s did not get an alert, %s: %s", parcel.route.name, what, error)
        with self._database.write() as tx:
            tx.alerts.failed(parcel.message.id, error[:500], again)

    def _until_next(self) -> float:
        with self._database.read() as tx:
            next_at = tx.alerts.next_at()
        if next_at is None:
            return _IDLE
        return min(_IDLE, max(_BETWEEN, (next_at - self._clock()).total_seconds()))


def pause(attempts: int) -> float:
    """Seconds until the next attempt: twice as long each time, and not for all at once."""
    return min(_LONGEST, _FIRST * 2.0**attempts) * random.uniform(0.5, 1.0)  # noqa: S311
