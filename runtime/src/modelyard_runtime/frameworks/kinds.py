"""Kinds of values that a column of a data frame may hold. Needs no package."""

from __future__ import annotations

from dataclasses import dataclass
from types import NoneType


@dataclass(frozen=True, slots=True)
class Kind:
    """What a column may hold."""

    name: str
    """As in "must be text"."""
    types: frozenset[type]
    json_types: tuple[str, ...]
    datatype: str


NUMBER = Kind(
    "a number", frozenset({int, float, bool, NoneType}), ("number", "boolean", "null"), "FP64"
)
TEXT = Kind("text", frozenset({str, NoneType}), ("string", "null"), "BYTES")
WORDS = Kind("text", frozenset({str}), ("string",), "BYTES")
"""Text that is taken apart: a missing one cannot be."""
