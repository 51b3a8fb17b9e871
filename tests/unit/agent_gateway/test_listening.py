from __future__ import annotations

import errno
from pathlib import Path

import pytest

from modelyard.agent.gateway.listening import Address
from modelyard.domain.cause import Cause


def address(folder: Path, host: str = "127.0.0.1", port: int = 7880) -> Address:
    return Address(host, port, folder / "port")


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:1"),
        ("0.0.0.0", "http://127.0.0.1:1"),
        ("::", "http://[::1]:1"),
        ("::1", "http://[::1]:1"),
        ("box.example", "http://box.example:1"),
    ],
)
def test_the_address_is_one_that_can_be_called(tmp_path: Path, host: str, url: str) -> None:
    assert address(tmp_path, host).url(1) == url


def test_a_taken_port_is_a_cause_that_says_which_and_what_to_do(tmp_path: Path) -> None:
    error = OSError(errno.EADDRINUSE, "Address already in use")
    cause = Cause.model_validate(address(tmp_path).explain(error))
    assert cause.code == "port_taken"
    assert "port 7880 of 127.0.0.1" in cause.message
    assert "MODELYARD_GATEWAY_PORT" in cause.fix
    assert "Address already in use" in cause.evidence[0]


def test_another_reason_is_a_cause_as_well(tmp_path: Path) -> None:
    error = OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
    cause = Cause.model_validate(address(tmp_path, host="192.0.2.1").explain(error))
    assert "192.0.2.1" in cause.message
    assert "MODELYARD_GATEWAY_HOST" in cause.fix


@pytest.mark.parametrize("text", ["", "x", "0", "-5", "70000", "1e3"])
def test_a_damaged_memory_means_any_port(tmp_path: Path, text: str) -> None:
    (tmp_path / "port").write_text(text)
    assert address(tmp_path, port=0).port == 0


def test_a_remembered_port_is_taken_again(tmp_path: Path) -> None:
    (tmp_path / "port").write_text("4567\n")
    assert address(tmp_path, port=0).port == 4567
    assert address(tmp_path, port=7880).port == 7880
