"""Credentials for registries, where docker and podman leave them."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from modelyard.errors import InvalidRequest
from modelyard.images.registry.credentials import Credentials, find_credentials
from modelyard.images.registry.reference import parse_name


def auth(user: str = "ann", secret: str = "s3:cret") -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{secret}".encode()).decode()}


def find(tmp_path: Path, name: str = "host.example/team/a", **environment: str) -> Any:
    return find_credentials(parse_name(name), {"HOME": str(tmp_path), **environment})


def write(path: Path, document: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def test_none(tmp_path: Path) -> None:
    assert find(tmp_path) is None


@pytest.mark.parametrize("place", [".docker/config.json", ".config/containers/auth.json"])
def test_of_docker_and_of_podman(tmp_path: Path, place: str) -> None:
    write(tmp_path / place, {"auths": {"host.example": auth()}})
    assert find(tmp_path) == Credentials("ann", "s3:cret")


def test_in_the_folder_that_is_named(tmp_path: Path) -> None:
    write(tmp_path / "there" / "config.json", {"auths": {"host.example": auth()}})
    assert find(tmp_path, DOCKER_CONFIG=str(tmp_path / "there")) is not None
    assert find(tmp_path) is None


def test_in_the_file_that_is_named_and_at_run_time(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", {"auths": {"host.example": auth("by name")}})
    write(tmp_path / "run/containers/auth.json", {"auths": {"host.example": auth("run")}})
    assert find(tmp_path, XDG_RUNTIME_DIR=str(tmp_path / "run")).user == "run"
    both = {"XDG_RUNTIME_DIR": str(tmp_path / "run"), "REGISTRY_AUTH_FILE": str(path)}
    assert find(tmp_path, **both).user == "by name"


def test_the_closest_entry_counts(tmp_path: Path) -> None:
    entries = {"host.example": auth("all"), "host.example/team": auth("team")}
    write(tmp_path / ".docker/config.json", {"auths": entries})
    assert find(tmp_path).user == "team"
    assert find(tmp_path, "host.example/other/a").user == "all"
    assert find(tmp_path, "host.example:5000/team/a") is None


def test_of_docker_hub(tmp_path: Path) -> None:
    write(tmp_path / ".docker/config.json", {"auths": {"https://index.docker.io/v1/": auth()}})
    assert find(tmp_path, "python:3") is not None


def test_a_token_to_get_tokens_with(tmp_path: Path) -> None:
    write(tmp_path / ".docker/config.json", {"auths": {"host.example": {"identitytoken": "t"}}})
    assert find(tmp_path).is_identity


def test_asks_the_helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[bytes]:
        asked.append((command, options["input"]))
        answer = json.dumps({"Username": "ann", "Secret": "s"}).encode()
        return subprocess.CompletedProcess(command, 0, answer)

    monkeypatch.setattr(subprocess, "run", run)
    write(tmp_path / ".docker/config.json", {"credHelpers": {"host.example": "store"}})
    assert find(tmp_path) == Credentials("ann", "s")
    assert asked == [(["docker-credential-store", "get"], b"host.example")]


def test_a_helper_that_knows_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        subprocess, "run", lambda *given, **named: subprocess.CompletedProcess([], 1, b"", b"no")
    )
    write(tmp_path / ".docker/config.json", {"credsStore": "store", "auths": {"host.example": {}}})
    assert find(tmp_path) is None


@pytest.mark.parametrize("helper", ["../evil", "a b", "a/b"])
def test_a_helper_is_no_path(tmp_path: Path, helper: str) -> None:
    write(tmp_path / ".docker/config.json", {"credHelpers": {"host.example": helper}})
    with pytest.raises(InvalidRequest):
        find(tmp_path)


def test_a_helper_that_is_not_there(tmp_path: Path) -> None:
    write(tmp_path / ".docker/config.json", {"credHelpers": {"host.example": "none-such"}})
    with pytest.raises(InvalidRequest, match="docker-credential-none-such"):
        find(tmp_path)


@pytest.mark.parametrize(
    "document",
    [
        "{",
        "[]",
        '{"auths": [1]}',
        '{"auths": {"host.example": {"auth": "%%"}}}',
        {"auths": {"host.example": {"auth": base64.b64encode(b"nothing").decode()}}},
    ],
)
def test_a_damaged_file_is_named_without_what_is_in_it(tmp_path: Path, document: Any) -> None:
    path = write(tmp_path / ".docker/config.json", document)
    with pytest.raises(InvalidRequest) as failure:
        find(tmp_path)
    assert str(path) in str(failure.value)
    assert "nothing" not in str(failure.value)


def test_does_not_show_the_secret() -> None:
    assert "s3cret" not in repr(Credentials("ann", "s3cret"))
