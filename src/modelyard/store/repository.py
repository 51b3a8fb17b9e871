"""What every repository has: the session of its transaction, and the clock."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from sqlalchemy import Table, insert
from sqlalchemy.orm import Session

from modelyard.store.columns import Base


class Repository:
    """Base of the repositories."""

    def __init__(self, session: Session, clock: Callable[[], datetime]) -> None:
        self._session = session
        self._clock = clock


def insert_all(session: Session, row: type[Base], values: Iterable[Mapping[str, object]]) -> None:
    """Insert many rows that nobody needs back: at once, past what the session keeps of each."""
    table = row.__table__
    assert isinstance(table, Table)
    listed = list(values)
    if listed:
        session.execute(insert(table), listed)
