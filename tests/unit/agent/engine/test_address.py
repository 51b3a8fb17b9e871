from __future__ import annotations

import pytest

from modelyard.agent.engine.address import Address, candidates, parse_address
from modelyard.agent.engine.problems import UnusableAddress


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("unix:///run/podman/podman.sock", Address(socket="/run/podman/podman.sock")),
        ("/run/docker.sock", Address(socket="/run/docker.sock")),
        ("tcp://127.0.0.1:1234", Address(host="127.0.0.1", port=1234)),
        ("tcp://localhost", Address(host="localhost", port=2375)),
        ("http://[::1]:2375", Address(host="::1", port=2375)),
    ],
)
def test_reads_addresses_of_this_host(text: str, expected: Address) -> None:
    assert parse_address(text, "DOCKER_HOST") == expected


@pytest.mark.parametrize(
    "text",
    [
        *("tcp://10.0.0.1:2375", "ssh://me@host", "https://127.0.0.1", "docker", "unix://x"),
        *("tcp://127.0.0.1:port", "tcp://127.0.0.1:99999", "tcp://[127.0.0.1"),
    ],
)
def test_refuses_others_and_names_the_setting(text: str) -> None:
    with pytest.raises(UnusableAddress, match="DOCKER_HOST names"):
        parse_address(text, "DOCKER_HOST")


def test_what_is_named_is_the_only_place() -> None:
    environment = {"DOCKER_HOST": "unix:///a", "XDG_RUNTIME_DIR": "/run/user/1"}
    assert [str(place) for place in candidates("/b", environment)] == ["/b"]
    assert [str(place) for place in candidates(None, environment)] == ["/a"]


def test_usual_places_are_looked_at_in_order() -> None:
    assert [str(place) for place in candidates(None, {"XDG_RUNTIME_DIR": "/run/user/1"})] == [
        "/var/run/docker.sock",
        "/run/podman/podman.sock",
        "/run/user/1/podman/podman.sock",
        "/run/user/1/docker.sock",
    ]
