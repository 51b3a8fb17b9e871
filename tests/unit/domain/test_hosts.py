from __future__ import annotations

import pytest

from modelyard.domain.hosts import is_loopback


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.9.1", "::1", "[::1]"])
def test_this_machine(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    ["", "127.0.0.1.nip.example", "127.example", "localhost.", "0.0.0.0", "127.0.0.300", "::"],
)
def test_others_and_what_is_none(host: str) -> None:
    assert not is_loopback(host)
