"""Scores the requests that wait together in as few calls of `run` as can be.

Lanes use it, in whatever thread they score. Whatever goes wrong with a joined call, each of its
requests is then scored alone: no request fails for another one's sake.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

from modelyard_runtime.scoring import Call, encode_joined
from modelyard_runtime.signature import Batching


class Group:
    """Calls that are scored together, or one that is scored alone.

    Attributes:
        rows: How many rows each call brings; 0 when it must be alone.
        total: Their sum.
        dropped: How many calls were left out because nobody waits for them any more.
        joined: Seconds that the one call of `run` for all of them took; 0: there was none.
    """

    __slots__ = ("calls", "dropped", "joined", "rows", "total")

    def __init__(self, call: Call, rows: int = 0) -> None:
        self.calls = [call]
        self.rows = [rows]
        self.total = rows
        self.dropped = 0
        self.joined = 0.0

    def add(self, call: Call, rows: int) -> None:
        """One more call, that fits."""
        self.calls.append(call)
        self.rows.append(rows)
        self.total += rows

    def drop_unwanted(self, now: float) -> None:
        """Leave out the calls that nobody waits for any more, or not for long enough."""
        if not any([c.settled or 0 < c.deadline <= now for c in self.calls]):
            return  # as nearly always, and several times cheaper than what follows
        pairs = zip(self.calls, self.rows, strict=True)
        wanted = [(c, rows) for c, rows in pairs if not (c.settled or 0 < c.deadline <= now)]
        self.dropped = len(self.calls) - len(wanted)
        self.calls = [call for call, _ in wanted]
        self.rows = [rows for _, rows in wanted]
        self.total = sum(self.rows)


def score_alone(group: Group) -> None:
    """Give every call of a group its response, with a call of `run` for each."""
    for call in group.calls:
        if call.response is None:
            call.response = call.execute()


class Batcher:
    """Puts calls together that may be scored together, and scores them.

    Args:
        run: Called with the arguments of one request or of several that were joined.
        batching: How to join and split.
        most_rows: Rows of one joined call.
    """

    def __init__(self, run: Callable[..., Any], batching: Batching, most_rows: int) -> None:
        self._run = run
        self._batching = batching
        self.most_rows = most_rows

    def arrange(self, calls: Sequence[Call]) -> list[Group]:
        """Groups of calls, in the order of their first ones; each call has been decoded.

        One that cannot be scored has its response already, and is a group of its own.
        """
        groups: list[Group] = []
        growing: dict[Any, Group] = {}
        for call in calls:
            rows, key = self._measure(call)
            group = growing.get(key) if rows else None
            if group is not None and group.total + rows <= self.most_rows:
                group.add(call, rows)
                continue
            group = Group(call, rows)
            groups.append(group)
            if rows:
                growing[key] = group
        return groups

    def score(self, group: Group) -> None:
        """Give every call of a group its response."""
        if len(group.calls) > 1 and self._score_joined(group):
            return
        score_alone(group)

    def _measure(self, call: Call) -> tuple[int, Any]:
        call.started = True  # so that one that does not come back is noticed
        call.response = call.decode()
        call.started = False
        if call.response is not None:
            return 0, None
        try:
            rows = self._batching.rows(call.arguments)
            key = self._batching.key(call.arguments)
            hash(key)
        except Exception:  # arguments that cannot be measured: scoring them says what is wrong
            return 0, None
        return rows, key

    def _score_joined(self, group: Group) -> bool:
        began = perf_counter()
        try:
            arguments = self._batching.join([call.arguments for call in group.calls])
            result = self._run(**arguments)
            parts = self._batching.split(result, group.rows)
            if len(parts) != len(group.calls):
                return False
        except BaseException:  # whoever is to blame is found when each is scored alone
            return False
        group.joined = perf_counter() - began
        encode_joined(group.calls, parts, group.joined)
        return True
