"""Keys and certificates replaced under load: failed requests, and how long an old key opens.

Clients speak TLS. Most keep their connections; some make a new one for each request, and so meet
each certificate.
"""

from __future__ import annotations

import socket
import ssl
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import modelyard
from bench._race import figure
from bench.gateway.clients import Steady, status, with_key
from bench.gateway.product import product
from bench.runtime.client import Wire
from modelyard.control.authority import Authority

_TIMES = 10
_SETTLE = 1.2
"""Seconds after new files; the gateway looks for them every second."""
_HOST = "127.0.0.1"


@dataclass(frozen=True)
class _Target:
    port: int
    wire: Wire
    trust: ssl.SSLContext


def run() -> Iterator[dict[str, Any]]:
    """The figures."""
    with tempfile.TemporaryDirectory(prefix="my-") as name:
        authority = Authority(Path(name))
        authority.renew([_HOST])
        with product(
            MODELYARD_GATEWAY_CERTIFICATE=str(authority.gateway_certificate),
            MODELYARD_GATEWAY_KEY=str(authority.gateway_key),
            SSL_CERT_FILE=str(authority.certificate),
        ) as running:
            trust = ssl.create_default_context(cafile=str(authority.certificate))
            target = _Target(*running.deploy(running.image()), trust)
            yield from _certificates(target, authority)
            yield from _keys(target, running.yard)


def _certificates(target: _Target, authority: Authority) -> Iterator[dict[str, Any]]:
    serials = {_serial(target)}
    with _asking(target) as crowds:
        for _ in range(_TIMES):
            authority.gateway_certificate.unlink()
            authority.renew([_HOST])
            time.sleep(_SETTLE)
            serials.add(_serial(target))
    yield figure("certificates that were served", len(serials), "", f">= {_TIMES + 1}")
    yield from _asked("certificate replaced", crowds)


def _keys(target: _Target, yard: modelyard.Client) -> Iterator[dict[str, Any]]:
    """Clients go over to the other key before theirs is replaced, as they are told to."""
    keys, longest = yard.services.keys("bench"), 0.0
    with _asking(target) as crowds:
        for number in range(_TIMES):
            slot, other = (("primary", "secondary"), ("secondary", "primary"))[number % 2]
            for crowd in crowds:
                crowd.wire = with_key(target.wire, getattr(keys, other))
            time.sleep(0.3)  # what was sent with the old key is answered
            old = with_key(target.wire, getattr(keys, slot))
            keys = yard.services.regenerate_key("bench", slot)
            longest = max(longest, _life(target, old))
    yield figure("an old key opens for at most", longest, "s", "<= 1")
    yield from _asked("key regenerated", crowds)


@contextmanager
def _asking(target: _Target) -> Iterator[list[Steady]]:
    staying = Steady(target.port, target.wire, 200, 20, target.trust)
    coming = Steady(target.port, target.wire, 20, 4, target.trust, stays=False)
    with staying.asking(), coming.asking():
        yield [staying, coming]


def _asked(what: str, crowds: list[Steady]) -> Iterator[dict[str, Any]]:
    times = f"{what} {_TIMES} times"
    failed = sum(len(crowd.failures) for crowd in crowds)
    yield figure(f"{times}, requests", sum(len(crowd.seen) for crowd in crowds), "requests")
    yield figure(f"{times}, failed", failed, "requests", "<= 0")


def _life(target: _Target, wire: Wire) -> float:
    """Seconds from now until a key is refused."""
    began = time.monotonic()
    while status(target.port, wire, target.trust) != 401:
        pass
    return time.monotonic() - began


def _serial(target: _Target) -> str:
    """That of the certificate which a new connection gets."""
    with (
        socket.create_connection((_HOST, target.port)) as plain,
        target.trust.wrap_socket(plain, server_hostname=_HOST) as secure,
    ):
        return str((secure.getpeercert() or {}).get("serialNumber"))
