"""Binds the sockets of a replica that inherits none, as in a container.

Called by `__main__` before anything is forked: the sockets belong to the first process, and the
workers inherit them from it as they inherit those of a supervisor.
"""

from __future__ import annotations

import os
import re
import socket
import stat
from dataclasses import replace

from modelyard_runtime.config import Config, InvalidConfig

_BACKLOG = 1024
_TCP = re.compile(r"(\*|[^:\[\]*]+|\[[0-9a-fA-F:.]+\]):([0-9]{1,5})")
_UNIX = "unix:"
_OPEN_TO_ALL = 0o666


def with_sockets(config: Config) -> Config:
    """The configuration with a bound socket for every address of `listen` and for `grpc_listen`.

    Raises:
        InvalidConfig: An address cannot be read, or not be listened on.
    """
    fds = [_listen(address).detach() for address in config.listen]
    if config.fd is None:
        config = replace(config, fd=fds.pop(0))
    config = replace(config, listen=(), fds=(*config.fds, *fds))
    if config.grpc_listen is None:
        return config
    return replace(config, grpc_listen=None, grpc_fd=_hold(config.grpc_listen).detach())


def _listen(address: str) -> socket.socket:
    try:
        is_unix = address.startswith(_UNIX)
        bound = _unix(address.removeprefix(_UNIX)) if is_unix else _tcp(address)
        bound.listen(_BACKLOG)
    except OSError as error:
        raise _unusable(address, error) from error
    return bound


def _hold(address: str) -> socket.socket:
    """A socket for gRPC: its servers listen for themselves on the address that this one holds."""
    try:
        return _tcp(address, shared=True)
    except OSError as error:
        raise _unusable(address, error) from error


def _unusable(address: str, error: OSError) -> InvalidConfig:
    return InvalidConfig(f"cannot listen on `{address}`: {error.strerror or error}")


def _unix(path: str) -> socket.socket:
    """Bind anew where an earlier start has left its socket.

    Everyone who reaches the folder may connect: inside a container the replica has another user
    than the gateway outside, and the folder is what keeps others away.
    """
    try:
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            os.unlink(path)
    except FileNotFoundError:
        pass
    bound = socket.socket(socket.AF_UNIX)
    bound.bind(path)
    os.chmod(path, _OPEN_TO_ALL)
    return bound


def _tcp(address: str, *, shared: bool = False) -> socket.socket:
    match = _TCP.fullmatch(address)
    if match is None or int(match[2]) > 0xFFFF:
        raise InvalidConfig(
            f"`{address}` is no address: write `host:port`, `[::1]:port`, `*:port` or `unix:/path`"
        )
    host, port = match[1].strip("[]"), int(match[2])
    if host != "*":
        family, *_, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return _bound(family, where, shared)
    try:
        return _bound(socket.AF_INET6, ("::", port), shared)  # IPv4 arrives there too
    except OSError:  # IPv6 is switched off
        return _bound(socket.AF_INET, ("0.0.0.0", port), shared)  # noqa: S104 - that is what `*` says


def _bound(family: int, where: tuple[object, ...], shared: bool) -> socket.socket:
    bound = socket.socket(family)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, where[0] != "::")
        bound.bind(where)
    except OSError:
        bound.close()
        raise
    return bound
