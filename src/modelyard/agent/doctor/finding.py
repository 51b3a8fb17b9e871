"""One line of `modelyard doctor`."""

from __future__ import annotations

from enum import StrEnum

from modelyard.domain.values import Value


class Grade(StrEnum):
    """How good it is."""

    OK = "ok"
    WARN = "warn"
    """It works, and could be better."""
    MISSING = "missing"


class Finding(Value):
    """What was seen of one thing, and what to do about it."""

    name: str
    grade: Grade
    seen: str
    """What there is, or why there is nothing."""
    fix: str = ""
    """What to do; empty when there is nothing to do."""
    required: bool = False
    """Nothing works while this is missing."""


def good(name: str, seen: str) -> Finding:
    """Nothing to do."""
    return Finding(name=name, grade=Grade.OK, seen=seen)


def poor(name: str, seen: str, fix: str) -> Finding:
    """It could be better."""
    return Finding(name=name, grade=Grade.WARN, seen=seen, fix=fix)


def missing(name: str, seen: str, fix: str, *, required: bool = False) -> Finding:
    """It is not there."""
    return Finding(name=name, grade=Grade.MISSING, seen=seen, fix=fix, required=required)
