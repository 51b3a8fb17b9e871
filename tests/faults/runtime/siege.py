"""What a server under attack must show: a good client is served, and memory stays bounded."""

from __future__ import annotations

import contextlib
import json
import re
import select
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.integration.runtime.wire import PATIENCE, Answer, Wire

MEGABYTE = 1 << 20
_INTERNALS = re.compile(
    r"Traceback|\.py\b|modelyard_runtime|site-packages|object at 0x|/tmp/|/usr/|/home/"
)


class TcpWire(Wire):
    """A connection over TCP."""

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.create_connection((host, port), PATIENCE)
        self._received = b""


class GoodClient(threading.Thread):
    """Asks the same again and again, over two connections in turn: one that stays, one that is new.

    Used as a context: leaving it waits for one more answer, so that there was one after the attack.
    """

    def __init__(self, connect: Callable[[], Wire], question: bytes, wanted: bytes) -> None:
        super().__init__()
        self._connect = connect
        self._question = question
        self._wanted = wanted
        self._answers = 0
        self._more = threading.Condition()
        self._ended = False
        self._failure: BaseException | None = None

    def __enter__(self) -> GoodClient:
        self.start()
        self.wait_for_another()
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            self.wait_for_another()
        finally:
            self._ended = True
            self.join(2 * PATIENCE)

    def wait_for_another(self) -> None:
        """Until a question that is asked from now on has been answered as it should be."""
        with self._more:
            wanted = self._answers + 3  # the next two may have been asked before
            served = self._more.wait_for(
                lambda: self._failure is not None or self._answers >= wanted, 3 * PATIENCE
            )
        assert self._failure is None, f"a good client was not served: {self._failure!r}"
        assert served, "a good client was not served in time"

    def run(self) -> None:
        try:
            with self._connect() as staying:
                while not self._ended:
                    self._ask(staying)
                    with self._connect() as fresh:
                        self._ask(fresh)
        except BaseException as error:
            self._failure = error
            with self._more:
                self._more.notify_all()

    def _ask(self, wire: Wire) -> None:
        wire.send(self._question)
        answer = wire.answer()
        assert (answer.status, answer.body) == (200, self._wanted), answer
        with self._more:
            self._answers += 1
            self._more.notify_all()


@contextlib.contextmanager
def bounded_memory(pids: Sequence[int], megabytes: int) -> Iterator[None]:
    """Each of the processes may need no more than so much in addition, at any moment."""
    for pid in pids:
        Path(f"/proc/{pid}/clear_refs").write_text("5")  # forget the highest until now
    before = {pid: _memory(pid, "VmRSS") for pid in pids}
    yield
    grown = {pid: (_memory(pid, "VmHWM") - before[pid]) >> 10 for pid in pids}
    assert max(grown.values()) <= megabytes, f"memory has grown by {grown} MiB"


def _memory(pid: int, name: str) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition(f"{name}:")[2].split()[0])


def check_refusal(answer: Answer, key: str = "message") -> None:
    """It is JSON with a message, which tells nothing of the inside."""
    said = json.loads(answer.body)
    assert said[key]
    assert set(said) <= {"message", "error", "error_code"}
    assert not _INTERNALS.search(answer.body.decode()), answer.body


def only_answer(received: bytes) -> Answer:
    """What a connection brought until its end: one answer, which says that it is the last."""
    assert received.count(b"HTTP/1.1 ") == 1, received
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    assert headers["connection"] == "close"
    return Answer(int(first.split(" ")[1]), headers, body)


def wait_until_cut(wire: Wire) -> None:
    """Until the server has ended a connection, of which nothing is read meanwhile."""
    poll = select.poll()
    poll.register(wire._socket, 0)
    assert poll.poll(PATIENCE * 1000), "the connection is still open"
