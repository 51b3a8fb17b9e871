"""Which errors come from a network that is kept away."""

from __future__ import annotations

import errno
import os
import socket

import pytest

from modelyard_runtime.causes import INIT_RAISED, NETWORK_NOT_ALLOWED, Scene, init_failed
from modelyard_runtime.offline import reached_for_network


def wrapped(inner: Exception) -> Exception:
    """As a library raises it: another error, raised while the first was handled."""
    try:
        try:
            raise inner
        except Exception:
            raise RuntimeError("cannot fetch the weights")  # noqa: B904 - as libraries do
    except RuntimeError as error:
        return error


@pytest.mark.parametrize(
    "error",
    [
        socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
        OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH)),
        ConnectionRefusedError(errno.ECONNREFUSED, "refused"),
        PermissionError(errno.EACCES, "Permission denied"),
        RuntimeError("client error (Connect): dns error: failed to lookup address information"),
    ],
)
def test_they_are_known_also_inside_others(error: Exception) -> None:
    assert reached_for_network(error)
    assert reached_for_network(wrapped(error))


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no"),
        FileNotFoundError(errno.ENOENT, "No such file", "/x"),
        PermissionError(errno.EACCES, "Permission denied", "/etc/shadow"),
        TimeoutError("slow"),
    ],
)
def test_others_are_left_alone(error: Exception) -> None:
    assert not reached_for_network(error)
    assert not reached_for_network(wrapped(error))


def test_an_error_that_goes_in_circles_ends() -> None:
    error, other = ValueError("a"), ValueError("b")
    error.__cause__, other.__cause__ = other, error
    assert not reached_for_network(error)


@pytest.mark.parametrize(("network", "code"), [(False, NETWORK_NOT_ALLOWED), (True, INIT_RAISED)])
def test_the_cause_names_it_only_where_there_is_none(network: bool, code: str) -> None:
    cause = init_failed(socket.gaierror("no"), Scene("/code", "score.py", "/models", network))
    assert cause.code == code
