"""Requests of a service that wait for a replica: first come, first served, also among those who
wait for one deployment alone, and among the processes of a gateway.

Each process keeps its own lines, and tells the others on the board how long its firsts have waited.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Container, Iterator, Mapping

from modelyard.agent.gateway.board import Seat, Tally
from modelyard.agent.gateway.loads import first_waiting_for, waiting_for
from modelyard.agent.gateway.upstream import Exchange

_ANY = ""  # the line of those who wait for whatever deployment
_LEAD = 5  # milliseconds that another process's request must have waited longer to go first
_COURTESY = 0.01  # seconds after which a place that another process does not take is taken


class WaitingLines:
    """One line for every deployment that somebody waits for, and one (`""`) for any of them.

    Args:
        service: Its name.
        seat: What this process has on the board.
        loop: Tells the time.
        look: Called when a place that was left to another process may be free after all.
    """

    def __init__(
        self, service: str, seat: Seat, loop: asyncio.AbstractEventLoop, look: Callable[[], None]
    ) -> None:
        self.everywhere = seat.tally(waiting_for(service))
        """How many wait in all processes."""
        self._service = service
        self._seat = seat
        self._loop = loop
        self._look = look
        self._lines: dict[str, OrderedDict[Exchange, None]] = {}
        self._count = 0
        self._firsts: dict[str, Tally] = {}
        """For each line, since when the first one waits: milliseconds of the loop's clock."""
        self._yields_to: tuple[int, int] | None = None
        self._stalled: tuple[int, int] | None = None

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Exchange]:
        """Everybody, as they are at this moment."""
        return iter([exchange for line in self._lines.values() for exchange in line])

    def share(self, deployments: Mapping[str, object]) -> None:
        """Share with the other processes the lines for the deployments that there are."""
        for line in self._firsts.keys() - deployments.keys() - {_ANY}:
            self._seat.drop(self._firsts.pop(line))
        for line in (_ANY, *deployments):
            if line not in self._firsts:
                self._firsts[line] = self._seat.tally(first_waiting_for(self._service, line))
                self._tell(line)

    def leave(self) -> None:
        """Share nothing any more: the service is gone, and nobody waits."""
        self._seat.drop(self.everywhere)
        while self._firsts:
            self._seat.drop(self._firsts.popitem()[1])

    def add(self, exchange: Exchange, *, first: bool) -> None:
        """Put it at the end of its line, or in front."""
        line = self._lines.setdefault(exchange.deployment, OrderedDict())
        line[exchange] = None
        self._count += 1
        if first:
            line.move_to_end(exchange, last=False)
        self._tell(exchange.deployment)

    def remove(self, exchange: Exchange) -> bool:
        """Take it out; whether it was there."""
        line = self._lines.get(exchange.deployment)
        if line is None or exchange not in line:
            return False
        del line[exchange]
        self._count -= 1
        if not line:
            del self._lines[exchange.deployment]
        self._tell(exchange.deployment)
        return True

    def next(self, full: Container[str]) -> Exchange | None:
        """Who waits longest, but for those whose deployment is one of `full`."""
        heads = [next(iter(line)) for wanted, line in self._lines.items() if wanted not in full]
        return min(heads, key=_end_of_patience) if heads else None

    def ring_others(self) -> None:
        """Have the processes look in which somebody waits: a place may be free."""
        if self.everywhere.all() > self.everywhere.own:
            for _, column in self.everywhere.others():
                self._seat.board.ring(column)

    def gives_way(self, exchange: Exchange, deployment: str) -> bool:
        """Let another process go first that waits longer for a place at a deployment.

        Not if it does not come, because it is stopped, or cannot reach the replica.
        """
        if self.everywhere.all() == self.everywhere.own:
            return False
        longest = self._longest_elsewhere(deployment)
        since = int((exchange.waits_since or self._loop.time()) * 1000)
        if longest is None or longest[0] + _LEAD >= since or longest == self._stalled:
            return False
        self._seat.board.ring(longest[1])
        if self._yields_to is None:
            self._yields_to = longest
            self._loop.call_later(_COURTESY, self._yielded, deployment)
        return True

    def _yielded(self, deployment: str) -> None:
        yields_to, self._yields_to = self._yields_to, None
        if yields_to == self._longest_elsewhere(deployment):
            self._stalled = yields_to
        self._look()

    def _longest_elsewhere(self, deployment: str) -> tuple[int, int] | None:
        """Since when another process waits for such a place, and the column of that."""
        lines = (self._firsts.get(line) for line in (_ANY, deployment))
        return min((first for line in lines if line for first in line.others()), default=None)

    def _tell(self, line: str) -> None:
        """Tell the other processes how many wait here, and since when the first of a line does."""
        self.everywhere.set(self._count)
        if line in self._firsts:
            first = next(iter(self._lines.get(line, ())), None)
            self._firsts[line].set(int(first.waits_since * 1000) if first is not None else 0)


def _end_of_patience(exchange: Exchange) -> float:
    return exchange.patience_ends
