"""Requests that wait for a replica: first come, first served, also among those who wait for one
deployment alone."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Container, Iterator

from modelyard.agent.gateway.upstream import Exchange


class WaitingLines:
    """One line for every deployment that somebody waits for, and one (`""`) for any of them."""

    def __init__(self) -> None:
        self._lines: dict[str, OrderedDict[Exchange, None]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Exchange]:
        """Everybody, as they are at this moment."""
        return iter([exchange for line in self._lines.values() for exchange in line])

    def first(self, line: str) -> Exchange | None:
        """Who waits longest in a line."""
        return next(iter(self._lines.get(line, ())), None)

    def add(self, exchange: Exchange, *, first: bool) -> None:
        """Put it at the end of its line, or in front."""
        line = self._lines.setdefault(exchange.deployment, OrderedDict())
        line[exchange] = None
        self._count += 1
        if first:
            line.move_to_end(exchange, last=False)

    def remove(self, exchange: Exchange) -> bool:
        """Take it out; whether it was there."""
        line = self._lines.get(exchange.deployment)
        if line is None or exchange not in line:
            return False
        del line[exchange]
        self._count -= 1
        if not line:
            del self._lines[exchange.deployment]
        return True

    def next(self, full: Container[str]) -> Exchange | None:
        """Who waits longest, but for those whose deployment is one of `full`."""
        heads = [next(iter(line)) for wanted, line in self._lines.items() if wanted not in full]
        return min(heads, key=_end_of_patience) if heads else None


def _end_of_patience(exchange: Exchange) -> float:
    return exchange.patience_ends
