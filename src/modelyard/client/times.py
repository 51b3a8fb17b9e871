"""Times as callers give them, and as the server is told them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from modelyard.domain.validation import compose
from modelyard.domain.values import Seconds, Spec
from modelyard.errors import InvalidRequest


class _Length(Spec):
    last: Seconds


def as_text(moment: datetime | str | None) -> str | None:
    """A moment with its zone; without one it is this machine's.

    Args:
        moment: As a text it is one as ISO 8601 has it, or how long ago it was, such as `7d`.

    Raises:
        InvalidRequest: It is neither.
    """
    if moment is None:
        return None
    read = _moment(moment) if isinstance(moment, str) else moment
    return read.astimezone().isoformat()


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return so_long_ago(text)


def so_long_ago(last: float | str) -> datetime:
    """The moment that is so long ago: seconds, or text such as `7d`.

    Raises:
        InvalidRequest: It is no such length, or there was no such moment.
    """
    seconds = compose(_Length, {"last": last}, "the time").last
    try:
        return datetime.now(UTC) - timedelta(seconds=seconds)
    except OverflowError:
        raise InvalidRequest(
            f"`last`: no calendar goes back {last}", hint="write it as `24h` or `7d`"
        ) from None
