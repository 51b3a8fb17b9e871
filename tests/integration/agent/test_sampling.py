"""A sample is really sent, to sockets that answer in every way."""

from __future__ import annotations

import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.unit.agent.making import make_deployment

from modelyard.agent import sampling
from modelyard.agent.sampling import Lost, score_sample
from modelyard.domain.cause import Cause
from modelyard.domain.service import ReplicaSettings

Answer = Callable[[bytes | None], Cause | None]


def answer(status: str, body: bytes) -> bytes:
    return b"HTTP/1.1 %b\r\ncontent-length: %d\r\n\r\n%b" % (status.encode(), len(body), body)


@pytest.fixture
def ask() -> Iterator[Answer]:
    """Scores the sample at a socket that gives these bytes and closes; None of them: silence."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        path = str(Path(folder) / "s")
        listener.bind(path)
        listener.listen()

        def score(reply: bytes | None) -> Cause | None:
            def serve() -> None:
                connection, _ = listener.accept()
                with connection:
                    request = b""
                    while not request.endswith(b'{"a": 1}'):
                        request += connection.recv(65536)
                    assert request.startswith(b"POST /score")
                    if reply is None:
                        connection.recv(1)  # until it gives up
                    else:
                        connection.sendall(reply)

            thread = threading.Thread(target=serve, daemon=True)
            thread.start()
            settings = ReplicaSettings(scoring_timeout=0.1 if reply is None else 60)
            schema = {"type": "array"}
            deployment = make_deployment("b", sample={"a": 1}, answer=schema, settings=settings)
            try:
                return score_sample(path, deployment)
            finally:
                thread.join(10)

        yield score


def test_what_it_answers_is_judged(ask: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "_GRACE", 0.1)
    assert ask(answer("200 OK", b"[1]")) is None
    for reply, expected in (
        (answer("500 Internal Server Error", b'{"message": "KeyError"}'), "it answered 500"),
        (answer("200 OK", b'{"a": 1}'), "declares `array`"),
        (answer("200 OK", b"not json"), "not JSON"),
        (None, "no answer within its scoring timeout of 0.1 s"),
    ):
        cause = ask(reply)
        assert cause is not None
        assert expected in cause.message
    assert "KeyError" in cause_of(ask(answer("500 No", b'{"message": "KeyError"}'))).evidence[0]


def test_one_that_ends_is_lost(ask: Answer) -> None:
    with pytest.raises(Lost):
        ask(b"")
    with pytest.raises(Lost):
        score_sample("/nowhere/at/all", make_deployment("b", sample=1))


def cause_of(cause: Cause | None) -> Cause:
    assert cause is not None
    return cause
