"""Which addresses the server may send to: whoever makes a channel names a host, not our network.

A name is looked up once. Every address that it has must be public, and the connection goes to one
of those very addresses, so a name that changes in between leads nowhere else.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Collection
from typing import Any

from modelyard.control.sending.base import NotSent

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], list[str]]
"""The addresses of a host, as text."""

ANY = "*"
_TRANSLATED = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("64:ff9b:1::/48"))
"""Where a translator reaches IPv4 (RFC 6052, RFC 8215)."""


def resolve(host: str, port: int) -> list[str]:
    """Ask the system for the addresses of a host.

    Raises:
        OSError: There is no such host, or nobody answers.
    """
    found: list[tuple[Any, ...]] = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def allowed(host: str, private: Collection[str]) -> bool:
    """Whether the server's settings allow this host to be a private one."""
    return ANY in private or host.lower() in private


def reachable(
    host: str, port: int, private: Collection[str], ask: Resolve = resolve
) -> tuple[str, ...]:
    """The addresses of a host that the server may connect to.

    Args:
        host: Name or address, as in a URL.
        port: Of the service there.
        private: Hosts that may have private addresses; `*` stands for all.
        ask: Looks names up.

    Raises:
        NotSent: There are none, or one of them is not public.
    """
    try:
        found = ask(host, port)
    except (OSError, UnicodeError) as error:
        raise NotSent(f"the host `{host}` is not known: {_reason(error)}") from None
    if not found:
        raise NotSent(f"the host `{host}` has no address")
    if not allowed(host, private):
        for text in found:
            if not is_public(text):
                raise NotSent(_not_public(host, text))
    return tuple(found)


def refusal(host: str, private: Collection[str]) -> str:
    """Why an address that stands in a URL itself is not sent to; empty: it is, or it is a name."""
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return ""
    return "" if allowed(host, private) or is_public(host) else _not_public(host, host)


def _not_public(host: str, address: str) -> str:
    return (
        f"the host `{host}` has the address {address}, which is not a public one; the server's "
        f"setting MODELYARD_ALERT_ALLOW_PRIVATE={host} allows it"
    )


def is_public(text: str) -> bool:
    """Whether an address is one of the internet's, whatever it is wrapped in."""
    try:
        address: Address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    inner = _inner(address)
    if inner is not None:
        return is_public(str(inner))
    return address.is_global and not (
        address.is_multicast or address.is_reserved or address.is_unspecified
    )


def _inner(address: Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that one of IPv6 leads to, if it does."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if any(address in network for network in _TRANSLATED):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if int(address) >> 32 == 0 and int(address) > 1:  # an IPv4 address behind ::, long obsolete
        return ipaddress.IPv4Address(int(address))
    return address.ipv4_mapped or address.sixtofour


def _reason(error: OSError | UnicodeError) -> str:
    return getattr(error, "strerror", None) or "it is no host name"
