"""Scores the requests that wait together in as few calls of `run` as can be.

Lanes use it, in whatever thread they score. Plain requests are also read together and answered
together, where the model's signature can do that. Whatever goes wrong with a joined call, each of
its requests is then read and scored alone: no request fails for another one's sake.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

from modelyard_runtime.capture.collecting import Answering
from modelyard_runtime.capture.wanted import parse
from modelyard_runtime.http.server import Response
from modelyard_runtime.lanes.joined import answer_each, answer_plain
from modelyard_runtime.scoring import Call
from modelyard_runtime.signature import Arguments, Batching


class Group:
    """Calls that are scored together, or one that is scored alone.

    Attributes:
        rows: How many rows each call brings; 0 when it must be alone.
        total: Their sum.
        arguments: Of all calls, where they were read together; the calls then have none.
        dropped: How many calls were left out because nobody waits for them any more.
        joined: Seconds that the one call of `run` for all of them took; 0: there was none.
        decoding, encoding: Seconds of reading and writing for one call, on average, where joined.
        responses: One for each call, with status 200, where all were answered together; the calls
            then have none.
    """

    __slots__ = (
        "arguments",
        "calls",
        "decoding",
        "dropped",
        "encoding",
        "joined",
        "responses",
        "rows",
        "total",
    )

    def __init__(
        self, calls: list[Call], rows: list[int], arguments: Arguments | None = None
    ) -> None:
        self.calls = calls
        self.rows = rows
        self.total = sum(rows)
        self.arguments = arguments
        self.dropped = 0
        self.joined = self.decoding = self.encoding = 0.0
        self.responses: list[Response] | None = None

    @classmethod
    def alone(cls, call: Call, rows: int = 0) -> Group:
        """A call that nothing has been joined to."""
        return cls([call], [rows])

    def add(self, call: Call, rows: int) -> None:
        """One more call, that fits."""
        self.calls.append(call)
        self.rows.append(rows)
        self.total += rows

    def drop_unwanted(self, now: float) -> None:
        """Leave out the calls that nobody waits for any more, or not for long enough."""
        if self.arguments is not None or not any([is_unwanted(c, now) for c in self.calls]):
            return
        pairs = zip(self.calls, self.rows, strict=True)
        wanted = [(c, rows) for c, rows in pairs if not is_unwanted(c, now)]
        self.dropped = len(self.calls) - len(wanted)
        self.calls = [call for call, _ in wanted]
        self.rows = [rows for _, rows in wanted]
        self.total = sum(self.rows)


def is_unwanted(call: Call, now: float) -> bool:
    """Whether nobody waits for the call any more, or not for long enough."""
    return call.settled or 0 < call.deadline <= now


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
        group = self._read_together(calls)
        return self._arrange_each(calls) if group is None else [group]

    def score(self, group: Group) -> None:
        """Give every call of a group its response."""
        if len(group.calls) > 1 and self._score_joined(group):
            return
        score_alone(group)

    def _read_together(self, calls: Sequence[Call]) -> Group | None:
        """All as one group, if each is plain and still wanted, and nothing is wrong with any.

        One alone is read in the same way, which takes less time than its own, and then has its
        arguments: nothing is joined.
        """
        began = perf_counter()
        bodies = [
            call.request.body
            for call in calls
            if call.memo.is_plain and not call.settled and not 0 < call.deadline <= began
        ]
        if not 0 < len(bodies) == len(calls):
            return None
        try:
            found = self._batching.read(bodies)
        except Exception:  # reading each for itself tells what is wrong, and with which
            return None
        if found is None or sum(found[1]) > self.most_rows:
            return None
        decoding = (perf_counter() - began) / len(calls)
        if len(calls) == 1:
            calls[0].arguments, calls[0].decoding = found[0], decoding
            return Group.alone(calls[0], *found[1])
        group = Group(list(calls), found[1], found[0])
        group.decoding = decoding
        return group

    def _arrange_each(self, calls: Sequence[Call]) -> list[Group]:
        groups: list[Group] = []
        growing: dict[Any, Group] = {}
        for call in calls:
            rows, key = self._measure(call)
            group = growing.get(key) if rows else None
            if group is not None and group.total + rows <= self.most_rows:
                group.add(call, rows)
                continue
            group = Group.alone(call, rows)
            groups.append(group)
            if rows:
                growing[key] = group
        return groups

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
        try:
            self._run_joined(group)
        except BaseException:  # whoever is to blame is found when each is scored alone
            return False
        return True

    def _run_joined(self, group: Group) -> None:
        batching, calls = self._batching, group.calls
        began = perf_counter()
        if group.arguments is None:
            arguments = batching.join([call.arguments for call in calls])
            group.decoding = sum([call.decoding for call in calls]) / len(calls)
        else:
            arguments = group.arguments
        value = calls[0].memo.identity.capture
        if value is None:
            result = self._run(**arguments)
        else:  # what a script collects belongs to all of them
            with Answering(b"", parse(value)):
                result = self._run(**arguments)
        ran = perf_counter()
        running = ran - began
        bodies = None if group.arguments is None else batching.write(result, group.rows)
        if bodies is not None:
            group.encoding = (perf_counter() - ran) / len(calls)
            times = group.decoding, running, group.encoding
            group.responses = answer_plain(calls, bodies, times)
        else:
            parts = batching.split(result, group.rows)
            group.encoding = answer_each(calls, parts, group.decoding, running)
        group.joined = running
