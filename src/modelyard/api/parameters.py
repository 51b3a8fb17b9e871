"""Parameters that several routes share."""

from __future__ import annotations

from typing import Annotated

from fastapi import Header, Query

from modelyard.domain.search import Search
from modelyard.domain.values import Reference

SearchQuery = Annotated[Search, Query()]
IdempotencyKey = Annotated[
    str | None,
    Header(alias="Idempotency-Key", min_length=8, max_length=200, pattern=r"^[\x21-\x7e]+$"),
]
"""A text of the caller's: the same text with the same body gives the same answer again."""
Position = Annotated[int, Query(ge=0, le=1 << 53)]
"""A sequence number in a log, or a number of its lines."""
Wait = Annotated[float, Query(ge=0, le=60)]
"""Longest time in seconds to wait for news before answering."""


def reference(name: str, version: str, kind: str) -> Reference:
    """The reference that a path names; `latest` is the newest version."""
    return Reference.parse(name if version == "latest" else f"{name}:{version}", kind)
