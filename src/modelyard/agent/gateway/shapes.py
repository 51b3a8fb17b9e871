"""Which shapes the answers of a deployment have: looked at only while a rollout is judged."""

from __future__ import annotations

import hashlib
import json
from struct import Struct

from modelyard.domain.answers import shape_of

_MOST_SHAPES = 8
_TEXT = 120
_COUNT = Struct("d")
_ENTRY = _COUNT.size + _TEXT
SIZE = _COUNT.size + _MOST_SHAPES * _ENTRY
"""Bytes of a table: the answers that found no room in it, then counts and texts of shapes."""
_LARGEST = 16 << 10
"""Bytes of an answer that is still looked at."""


class ShapeTable:
    """The shapes of one deployment's answers; its process is the only writer.

    Args:
        memory: `SIZE` bytes, kept from an earlier life or zero.
    """

    __slots__ = ("_memory", "_places")

    def __init__(self, memory: memoryview[int]) -> None:
        self._memory = memory
        self._places = {
            text: at for at, text in enumerate(map(self._text, range(_MOST_SHAPES))) if text
        }

    def look_at(self, body: bytes) -> None:
        """Count an answer by its shape, unless it is large."""
        if len(body) > _LARGEST:
            return
        text = _shape(body)
        place = self._places.get(text)
        if place is None:
            if len(self._places) == _MOST_SHAPES:
                self._add(0)
                return
            place = self._places[text] = len(self._places)
            start = _start(place) + _COUNT.size
            self._memory[start : start + _TEXT] = text.ljust(_TEXT, b"\0")
        self._add(_start(place))

    def _text(self, place: int) -> bytes:
        start = _start(place) + _COUNT.size
        return bytes(self._memory[start : start + _TEXT]).rstrip(b"\0")

    def _add(self, at: int) -> None:
        _COUNT.pack_into(self._memory, at, _COUNT.unpack_from(self._memory, at)[0] + 1)


def read_shapes(table: bytes) -> tuple[dict[str, int], int]:
    """The answers by shape, and how many came in shapes for which there was no room."""
    found = {}
    for place in range(_MOST_SHAPES):
        start = _start(place)
        text = table[start + _COUNT.size : start + _ENTRY].rstrip(b"\0")
        if text:
            found[text.decode("utf-8", "replace")] = int(_COUNT.unpack_from(table, start)[0])
    return found, int(_COUNT.unpack_from(table, 0)[0])


def _start(place: int) -> int:
    return _COUNT.size + place * _ENTRY


def _shape(body: bytes) -> bytes:
    try:
        text = shape_of(json.loads(body)).encode("ascii", "backslashreplace")
    except (ValueError, RecursionError):
        return b"not JSON"
    if len(text) <= _TEXT:
        return text
    # Its end is told apart by a few digits.
    return text[: _TEXT - 12] + b"... " + hashlib.sha256(text).hexdigest()[:8].encode()
