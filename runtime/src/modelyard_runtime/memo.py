"""What a worker remembers of a request head, so that the next one of the same bytes costs less."""

from __future__ import annotations

from typing import Any

from modelyard_runtime.http.messages import Head
from modelyard_runtime.identity import Identity


class Memo:
    """What follows from a head alone; each part is filled in by whoever needs it first."""

    __slots__ = ("access", "identity", "is_plain", "page", "protocol")

    def __init__(self) -> None:
        self.identity: Identity
        """For `scoring`, if it asks for a score: which request it is."""
        self.is_plain = False
        """For `scoring`: nothing but the body tells one such request from another."""
        self.protocol: Any = None
        """For `routes`: the protocol in which it asks for a score. It has this or a `page`: to ask
        each time which kind of object answers takes longer than to look here."""
        self.page: Any = None
        """For `routes`: what else answers it."""
        self.access: Any = None
        """For `auth`: whether its credentials were right, and for which set of keys."""


def memo_of(head: Head) -> Memo:
    """The memo of a head; a new one if it has none."""
    memo: Memo | None = head.memo
    if memo is None:
        memo = head.memo = Memo()
    return memo
