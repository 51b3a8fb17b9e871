"""What a generator yields, as the parts of one answer.

Bytes go out as they are, text as UTF-8, anything else as a line of JSON. The first item is made
before the answer begins: it tells the content type, and what fails until then is an error as ever.
"""

from __future__ import annotations

from asyncio import CancelledError, current_task
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import islice
from typing import Any

from modelyard_runtime.http.sending import Broken
from modelyard_runtime.signatures.answers import to_json

Blame = Callable[[BaseException], None]
Field = tuple[bytes, bytes]

_BYTES = (b"content-type", b"application/octet-stream")
_TEXT = (b"content-type", b"text/plain; charset=utf-8")
_LINES = (b"content-type", b"application/x-ndjson")


class Parts:
    """The parts of an answer, made by an iterator in whatever thread asks for one.

    Args:
        items: Makes them; the first is made at once.
        blame: Is told what goes wrong with the others. Then `Broken` is raised.
    """

    def __init__(self, items: Iterator[Any], blame: Blame) -> None:
        self._items = items
        self._blame = blame
        first = list(islice(items, 1))
        self._begun = [part_of(item) for item in first]
        self.content_type = content_type_of(first[0]) if first else _LINES

    def __iter__(self) -> Parts:
        return self

    def __next__(self) -> bytes:
        if self._begun:
            return self._begun.pop()
        try:
            return part_of(next(self._items))
        except StopIteration:
            raise
        except BaseException as error:
            self._blame(error)
            raise Broken from error

    def close(self) -> None:
        """The other parts are not wanted: end the generator."""
        close = getattr(self._items, "close", None)
        try:
            if close is not None:
                close()
        except BaseException as error:
            self._blame(error)


class AsyncParts:
    """As `Parts`, made by an asynchronous generator, in the event loop that it belongs to."""

    def __init__(self, items: AsyncIterator[Any], first: list[Any], blame: Blame) -> None:
        self._items = items
        self._blame = blame
        self._begun = [part_of(item) for item in first]
        self.content_type = content_type_of(first[0]) if first else _LINES

    @classmethod
    async def begin(cls, items: AsyncIterator[Any], blame: Blame) -> AsyncParts:
        """The parts, once the first is made."""
        try:
            first = [await anext(items)]
        except StopAsyncIteration:
            first = []
        return cls(items, first, blame)

    def __aiter__(self) -> AsyncParts:
        return self

    async def __anext__(self) -> bytes:
        if self._begun:
            return self._begun.pop()
        try:
            return part_of(await anext(self._items))
        except StopAsyncIteration:
            raise
        except BaseException as error:
            if isinstance(error, CancelledError) and _is_cancelled():
                raise
            self._blame(error)
            raise Broken from error

    async def aclose(self) -> None:
        """The other parts are not wanted: end the generator."""
        close = getattr(self._items, "aclose", None)
        if close is not None:
            await close()


def _is_cancelled() -> bool:
    """Whether this task was cancelled itself, and not only something that it has awaited."""
    task = current_task()
    return task is None or task.cancelling() > 0


def part_of(item: Any) -> bytes:
    """One item as bytes.

    Raises:
        TypeError: JSON has nothing like it.
    """
    if isinstance(item, str):
        return item.encode()
    if isinstance(item, bytes | bytearray | memoryview):
        return bytes(item)
    return to_json(item) + b"\n"


def content_type_of(item: Any) -> Field:
    """The field for an answer whose first item this is."""
    if isinstance(item, str):
        return _TEXT
    return _BYTES if isinstance(item, bytes | bytearray | memoryview) else _LINES
