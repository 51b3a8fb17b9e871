"""Settings of a service, as arguments of `deploy` and `update`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict


class Settings(TypedDict, total=False):
    """Settings of a service; see `ServiceSettings` for bounds and defaults."""

    max_replicas: int
    """Copies come and go with the load, up to so many; `replicas` is the least."""
    idle_time: float | str
    """Time without a request until the last copy goes, with `replicas=0`."""

    cpu: float
    """Cores of one replica."""
    memory: int | str
    """Limit of one replica: bytes, or text such as `1GiB`."""
    scoring_timeout: float | str
    """Longest time for one request: seconds, or text such as `30s`."""
    startup_timeout: float | str
    """Longest time until a replica is ready."""
    environment: dict[str, str]
    """Environment variables; replaces all that were set before."""
    network: str
    """What a replica may reach by itself: `none` or `outbound`."""
    max_concurrent_requests: int
    """Requests in flight at one replica."""
    max_queue_wait: float | str
    """Longest wait at the gateway."""
    capture: int | str
    """How many requests are recorded: percent, or text such as `10%` or `off`."""
    capture_space: int | str
    """Disk that records on their way may take: of each replica, and of the gateway."""
    capture_when_full: str
    """Beyond that: `drop_new`, `drop_old` or `refuse`."""
    capture_durable: bool
    """A record survives a power cut before its answer leaves."""
    capture_drop: Sequence[str]
    """Fields that are left out of records: `name`, or `customer.name`; `[]` takes all back."""
    capture_hash: Sequence[str]
    """Fields of which only keyed hashes are recorded."""
    capture_encrypt: Sequence[str]
    """Fields that are recorded encrypted; `decrypt` in SQL reads them."""
    alerts: Sequence[str]
    """When somebody is to be told, such as `error_rate>5%`; replaces all, `[]` takes all back."""
    auth: str
    """`key`, `token`, `cert` or `none`."""
    clients: Sequence[str]
    """Names in certificates of those who may score with `cert`, `uri:…`, `dns:…` or `email:…`;
    replaces all."""
    sticky: str
    """Header by whose value callers stay with one deployment of several; `""`: none."""
    cors_origins: Sequence[str]
    """Web pages whose scripts may read answers, such as `https://app.example`; replaces all."""
    judged: bool
    """What is new goes back by itself when it is worse than what served before."""
