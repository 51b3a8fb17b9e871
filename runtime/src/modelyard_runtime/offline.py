"""Tells whether an error comes from reaching for a network, in a replica that has none."""

from __future__ import annotations

import errno
import re
import socket
from collections.abc import Iterator

_UNREACHABLE = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ECONNREFUSED}
_WORDS = re.compile(
    r"name resolution|name or service not known|could not resolve|failed to resolve|dns error"
    r"|failed to lookup address|network is unreachable|no route to host",
    re.IGNORECASE,
)
_MOST = 50


def reached_for_network(error: BaseException) -> bool:
    """Whether an error, or one that it was raised for, is what a missing network leads to."""
    return any(_is_of_network(one) for one in _chain(error))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    for _ in range(_MOST):
        if error is None:
            return
        yield error
        error = error.__cause__ or error.__context__


def _is_of_network(error: BaseException) -> bool:
    if isinstance(error, socket.gaierror):
        return True
    if isinstance(error, OSError) and error.errno in _UNREACHABLE:
        return True
    # Landlock refuses a connection like a file, but there is no file that it could name.
    if isinstance(error, PermissionError) and error.errno == errno.EACCES:
        return error.filename is None
    return _WORDS.search(str(error)) is not None
