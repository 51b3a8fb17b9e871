"""What answers at the engine's address may be anything."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.containers.podman import Podman

from modelyard.agent.engine.address import Address
from modelyard.agent.engine.client import Engine
from modelyard.agent.engine.host import find_engine
from modelyard.agent.engine.problems import (
    EngineForbidden,
    EngineProblem,
    EngineRefused,
    NoEngine,
    NoSuchObject,
    NotAnEngine,
)


@contextmanager
def answering(path: Path, answer: bytes) -> Iterator[Engine]:
    """Something that answers every request with these bytes and closes."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=_serve, args=(listener, answer), daemon=True)
        thread.start()
        yield Engine(Address(socket=str(path)))
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def _serve(listener: socket.socket, answer: bytes) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            connection.recv(1 << 16)
            try:
                connection.sendall(answer)
            except ConnectionError:
                continue


def http(status: str, body: bytes, headers: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


def test_engine_is_found(podman: Podman) -> None:
    engine = find_engine(str(podman.socket))
    assert engine.info()["OSType"] == "linux"
    assert engine.containers("no.such.label=1") == []
    with pytest.raises(NoSuchObject):
        engine.inspect("never-was")
    engine.remove("never-was")


def test_other_places_are_named_when_there_is_none(home: Path) -> None:
    with pytest.raises(NoEngine, match=r"looked at .*/podman/podman\.sock"):
        find_engine(None, {"XDG_RUNTIME_DIR": str(home)})


def test_named_place_without_an_engine_is_named(home: Path) -> None:
    with pytest.raises(NoEngine, match=str(home)) as caught:
        find_engine(f"unix://{home}/engine.sock")
    assert "podman" in caught.value.hint


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nshort",
        http("200 OK", b"[]"),
        http("200 OK", b"not JSON"),
        http("200 OK", b"[" * 100_000),
        http("500 Oh", b"<html>"),
        http("500 Oh", b'{"message": '),
        http("200 OK", b"x" * (33 << 20)),
    ],
)
def test_nonsense_is_told_from_an_engine(home: Path, answer: bytes) -> None:
    with answering(home / "s", answer) as engine, pytest.raises(EngineProblem) as caught:
        engine.info()
    assert isinstance(caught.value, NotAnEngine | NoEngine)
    assert str(home) in caught.value.message


def test_another_server_is_no_engine(home: Path) -> None:
    with answering(home / "s", http("200 OK", b"OK")), pytest.raises(NotAnEngine):
        find_engine(str(home / "s"))


def test_refusal_carries_the_engines_words_on_one_line(home: Path) -> None:
    body = b'{"message": "no\\n\\u001b[31m room"}'
    with (
        answering(home / "s", http("507 Full", body)) as engine,
        pytest.raises(EngineRefused) as caught,
    ):
        engine.info()
    assert "\n" not in caught.value.message
    assert "\x1b" not in caught.value.message
    assert caught.value.status == 507


def test_error_in_the_middle_of_loading_is_one(home: Path) -> None:
    body = b'{"stream": "Loading"}\n{"error": "archive is damaged"}\n'
    with (
        answering(home / "s", http("200 OK", body)) as engine,
        pytest.raises(EngineRefused, match="archive is damaged"),
    ):
        engine.load([b"x"])


def test_engine_that_refuses_an_archive_early_is_heard(home: Path) -> None:
    refusal = http("400 Bad", b'{"message": "no such format"}')
    with answering(home / "s", refusal) as engine, pytest.raises(EngineProblem):
        engine.load(b"x" * (1 << 20) for _ in range(64))


def test_damaged_archive_is_refused(podman: Podman) -> None:
    with pytest.raises(EngineRefused):
        podman.engine.load([b"no archive"])


def test_socket_of_others_is_forbidden(podman: Podman) -> None:
    script = (
        "import os, sys\n"
        "from modelyard.agent.engine.host import find_engine\n"
        "from modelyard.agent.engine.problems import EngineProblem\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "try:\n"
        "    find_engine(sys.argv[1])\n"
        "except EngineProblem as problem:\n"
        "    print(type(problem).__name__, problem.hint)\n"
    )
    with _open_to_all(podman.socket.parent):
        done = subprocess.run(
            [sys.executable, "-c", script, str(podman.socket)],
            capture_output=True,
            text=True,
            check=True,
        )
    assert done.stdout.startswith(EngineForbidden.__name__), done.stderr
    assert "group" in done.stdout


@contextmanager
def _open_to_all(folder: Path) -> Iterator[None]:
    """Let everybody reach a folder, though not what is in it."""
    closed = [path for path in (folder, *folder.parents) if not path.stat().st_mode & 0o001]
    modes = {path: path.stat().st_mode for path in closed}
    for path in closed:
        path.chmod(0o711)
    yield
    for path, mode in modes.items():
        path.chmod(mode)
