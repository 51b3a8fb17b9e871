from __future__ import annotations

import json
import logging

from hypothesis import given
from hypothesis import strategies as st

from modelyard.agent.gateway.log import JsonLines, RateLimit


def record(message: str, created: float = 0.0) -> logging.LogRecord:
    made = logging.LogRecord("modelyard", logging.ERROR, "", 0, message, None, None)
    made.created = created
    return made


@given(st.text())
def test_a_record_is_one_line_of_printable_ascii(message: str) -> None:
    line = JsonLines().format(record(message))
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["message"] == message[:4000]


def test_a_traceback_is_in_the_line() -> None:
    made = record("failed")
    try:
        raise ValueError("\x1b[31mred\n")
    except ValueError as error:
        made.exc_info = (type(error), error, error.__traceback__)
    line = JsonLines().format(made)
    assert "\x1b" not in line
    assert "ValueError" in json.loads(line)["traceback"]


def test_a_flood_is_cut_and_counted() -> None:
    limit = RateLimit(per_second=3)
    assert [limit.filter(record("x", created=5.1)) for _ in range(5)] == [True] * 3 + [False] * 2
    later = record("y", created=6.0)
    assert limit.filter(later)
    assert later.getMessage() == "y (after 2 lines not logged)"
