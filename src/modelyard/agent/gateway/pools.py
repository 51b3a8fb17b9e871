"""The deployments of one service: how they share its requests, and which replica takes one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from math import inf, log

from modelyard.agent.gateway.upstream import Replica

_GRABS = 3  # how often a place is tried for that other processes try for at the same moment


class Pool:
    """The ready replicas of one deployment."""

    __slots__ = ("_turn", "credit", "deployment", "replicas", "weight")

    def __init__(self, deployment: str) -> None:
        self.deployment = deployment
        self.weight = 0
        self.credit = 0
        """What the deployment is behind its share, in weights; see `Shares`."""
        self.replicas: list[Replica] = []
        self._turn = 0

    def take(self, limit: int, avoid: Replica | None = None) -> Replica | None:
        """A place at the replica with the fewest in flight, if any is below the limit."""
        for _ in range(_GRABS):
            replica = self._choose(limit, avoid)
            if replica is None or replica.requests.grab(limit):
                return replica
        return None

    def _choose(self, limit: int, avoid: Replica | None) -> Replica | None:
        """The replica with the fewest in flight that is below the limit; ties go round."""
        replicas = self.replicas
        count = len(replicas)
        if not count:
            return None
        self._turn = turn = (self._turn + 1) % count
        best, fewest = None, limit
        for index in range(turn - count, turn):  # negative ones count from the end: a full circle
            replica = replicas[index]
            in_flight = replica.requests.all()
            if in_flight < fewest and not replica.resting and replica is not avoid:
                best, fewest = replica, in_flight
                if not fewest:
                    break
        return best


class Shares:
    """Gives requests to pools by their weights: in every run of as many requests as the weights
    add up to, each pool has its turn exactly as often as its weight, spread evenly.

    A pool whose turn it is and that has no room leaves the request to another: its share is what
    it is offered, and nobody waits for one deployment while another is free.
    """

    def __init__(self, pools: Iterable[Pool]) -> None:
        self.pools = [pool for pool in pools if pool.weight and pool.replicas]
        self._total = sum(pool.weight for pool in self.pools)

    def take(self, limit: int, avoid: Replica | None = None) -> Replica | None:
        """A replica that has room, of the pool whose turn it is or else of another."""
        pools = self.pools
        if len(pools) == 1:
            return pools[0].take(limit, avoid)
        order = sorted(pools, key=_due, reverse=True)
        for pool in order:
            replica = pool.take(limit, avoid)
            if replica is not None:
                for each in pools:
                    each.credit += each.weight
                order[0].credit -= self._total
                return replica
        return None


def _due(pool: Pool) -> int:
    return pool.credit + pool.weight


def stuck_to(value: bytes, pools: Sequence[Pool]) -> str:
    """The deployment that callers with this value stay with, by the weights; empty: there is none.

    The same in every gateway. A deployment whose share grows takes callers from the others and
    gives none away; one that goes leaves its callers to the rest by their shares.
    """
    return max(pools, key=lambda pool: _affinity(value, pool)).deployment if pools else ""


def _affinity(value: bytes, pool: Pool) -> float:
    """Weighted rendezvous hashing: the highest one wins with a chance of its weight."""
    digest = hashlib.blake2b(value, digest_size=8, key=pool.deployment.encode()[:64]).digest()
    chance = (int.from_bytes(digest) + 0.5) / 2**64
    return -pool.weight / log(chance) if chance < 1.0 else inf
