"""Which hosts are this machine. Pure, and of the standard library only: holders load it, too."""

from __future__ import annotations

import ipaddress


def is_loopback(host: str) -> bool:
    """Whether a host, without its port, is this machine by its very name; nothing is looked up."""
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
