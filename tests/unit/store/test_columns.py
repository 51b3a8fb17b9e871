"""Values survive the way into the database and back."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects.sqlite import dialect

from modelyard.store.columns import Json, Line, Utc

DIALECT = dialect()


def test_a_time_is_stored_in_utc() -> None:
    there = datetime(2026, 1, 1, 1, 30, tzinfo=timezone(timedelta(hours=2)))
    stored = Utc().process_bind_param(there, DIALECT)
    assert stored is not None
    assert stored.isoformat() == "2025-12-31T23:30:00+00:00"
    assert Utc().process_result_value(stored.replace(tzinfo=None), DIALECT) == there


def test_a_time_without_zone_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        Utc().process_bind_param(datetime(2026, 1, 1), DIALECT)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_json_comes_back(value: object) -> None:
    stored = Json().process_bind_param(value, DIALECT)
    assert Json().process_result_value(stored, DIALECT) == value
    if stored is not None:
        assert "\0" not in stored
        stored.encode()


@given(st.text(st.characters(exclude_categories=())))
def test_any_text_becomes_storable(text: str) -> None:
    stored = Line().process_bind_param(text, DIALECT)
    assert stored is not None
    assert "\0" not in stored
    stored.encode()
    assert len(stored) == len(text)


def test_null_is_null() -> None:
    for column in (Utc(), Json(), Line()):
        assert column.process_bind_param(None, DIALECT) is None
    for column in (Utc(), Json()):
        assert column.process_result_value(None, DIALECT) is None
