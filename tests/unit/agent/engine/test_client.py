"""What a container writes, as an engine passes it on; the rest needs an engine."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from modelyard.agent.engine.address import Address
from modelyard.agent.engine.client import Engine


class Answer(io.BytesIO):
    """Bytes that come seven at a time; remembers the most that was asked for."""

    most = 0

    def read1(self, size: int | None = -1, /) -> bytes:
        assert size is not None
        self.most = max(self.most, size)
        return self.read(min(size, 7))


def frame(content: bytes, stated: int | None = None) -> bytes:
    size = len(content) if stated is None else stated
    return b"\1\0\0\0" + size.to_bytes(4, "big") + content


def output(monkeypatch: pytest.MonkeyPatch, answer: Answer) -> bytes:
    @contextmanager
    def ask(engine: Engine, *arguments: Any, **more: Any) -> Iterator[Answer]:
        yield answer

    monkeypatch.setattr(Engine, "_ask", ask)
    return b"".join(Engine(Address(socket="/engine")).output("digits"))


def test_what_a_container_writes_comes_without_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = Answer(frame(b"one line\n") + frame(b"") + frame(b"another line\n"))
    assert output(monkeypatch, answer) == b"one line\nanother line\n"


def test_what_was_cut_off_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = Answer(frame(b"last words", stated=0xFFFFFFFF))
    assert output(monkeypatch, answer) == b"last words"
    assert answer.most <= 1 << 16, "nothing as large as was stated is held"
    assert output(monkeypatch, Answer(frame(b"one") + b"\1\0\0")) == b"one"
