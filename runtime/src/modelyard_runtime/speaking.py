"""What a script prints while it answers a request carries the id of that request.

Every line on stdout and stderr is put behind `request <id>: `, whole, so that lines of two requests
never mix. It follows a request into coroutines, into tasks of thread pools and into threads that
it starts. What compiled code writes by itself, past Python, does not carry it, nor what is printed
in one call for several requests.
"""

from __future__ import annotations

import concurrent.futures
import sys
import threading
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from io import TextIOWrapper
from typing import Any, Protocol

_LONGEST = 8 << 10
"""Characters after which a line that does not end is written nevertheless."""
_MOST_UNFINISHED = 1000
_POOLS = ("concurrent.futures.thread", "multiprocessing.pool")


class Speaker(Protocol):
    """A request that is being answered."""

    @property
    def request_id(self) -> str:
        """Its id: printable, without spaces."""


SPEAKER: ContextVar[Speaker | None] = ContextVar("speaker", default=None)
"""Whose request this thread or coroutine is answering."""


Listener = Callable[[str, Speaker | None, str], None]
"""Is told of a line: the name of the stream, whose it is, what it says."""


class Output(TextIOWrapper):
    """A stream whose lines say which request they belong to."""

    def __init__(self, stream: TextIOWrapper, title: str = "") -> None:
        encoding, errors = stream.encoding, stream.errors
        super().__init__(stream.detach(), encoding, errors, line_buffering=True)
        self._title = title
        self.listener: Listener | None = None
        self.unfinished: dict[Speaker | None, str] = {}
        """Beginnings of lines that have not ended."""

    def write(self, text: str) -> int:
        """Write whole lines; keep what has not ended until the rest of its line comes."""
        speaker = SPEAKER.get()
        if speaker is None and self.listener is None:
            return super().write(text)
        *lines, rest = (self.unfinished.pop(speaker, "") + text).split("\n")
        if len(rest) > _LONGEST or len(self.unfinished) >= _MOST_UNFINISHED:
            lines.append(rest)
        elif rest:
            self.unfinished[speaker] = rest
        if lines:
            self.put(speaker, lines)
        return len(text)

    def finish(self, speaker: Speaker) -> None:
        """Write a last line that has not ended."""
        rest = self.unfinished.pop(speaker, None)
        if rest is not None:
            self.put(speaker, [rest])

    def put(self, speaker: Speaker | None, lines: list[str]) -> None:
        """Write whole lines of somebody's in one go."""
        super().write(prefixed(speaker, lines))
        if self.listener is not None:
            for line in lines:
                self.listener(self._title, speaker, line)


_outputs: list[Output] = []


def begin() -> None:
    """Have stdout and stderr written line by line, and with ids, from now on."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, TextIOWrapper) and not isinstance(stream, Output):
            output = Output(stream, name)
            setattr(sys, name, output)
            setattr(sys, f"__{name}__", output)  # that one has lost its stream
            _outputs.append(output)
    concurrent.futures.ThreadPoolExecutor.submit = _submitting(  # type: ignore[method-assign]
        concurrent.futures.ThreadPoolExecutor.submit
    )
    threading.Thread.start = _starting(threading.Thread.start)  # type: ignore[method-assign]


def finish(speaker: Speaker) -> None:
    """A request has been answered: write what it has printed without an end of line."""
    for output in _outputs:
        if output.unfinished:
            output.finish(speaker)


def say(speaker: Speaker, text: str) -> None:
    """Write lines of ours about a request, in one go."""
    lines = text.split("\n")
    if isinstance(sys.stderr, Output):
        sys.stderr.put(speaker, lines)
    else:
        sys.stderr.write(prefixed(speaker, lines))


def listen(listener: Listener | None) -> None:
    """Have every line told to somebody, too; None: no more."""
    for output in _outputs:
        output.listener = listener


def prefixed(speaker: Speaker | None, lines: list[str]) -> str:
    """The lines with the request that they belong to."""
    start = f"request {speaker.request_id}: " if speaker is not None else ""
    return "".join(f"{start}{line}\n" for line in lines)


def _submitting(submit: Callable[..., Any]) -> Callable[..., Any]:
    """A task of a pool belongs to the request that it was given by."""

    def call(self: Any, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        if SPEAKER.get() is None:
            return submit(self, function, *args, **kwargs)
        return submit(self, copy_context().run, function, *args, **kwargs)

    return call


def _starting(start: Callable[..., None]) -> Callable[..., None]:
    """A thread belongs to the request that has started it, unless it is there to stay.

    That is said by being made a daemon, or a pool's.
    """

    def call(self: Any) -> None:
        module = getattr(getattr(self, "_target", None), "__module__", "")
        stays = module in _POOLS or (self.daemon and not threading.current_thread().daemon)
        if SPEAKER.get() is not None and not stays:
            context, run = copy_context(), self.run
            self.run = lambda: context.run(run)
        start(self)

    return call
