"""Turns a `Search` into a query: any filters together, newest first, paged by a cursor."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import ColumnElement, Select, exists, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased
from sqlalchemy.sql.elements import SQLCoreOperations

from modelyard.domain.search import Page, Search
from modelyard.errors import InvalidRequest
from modelyard.store.labels import LabelRow, folded
from modelyard.store.rows import (
    ImageLabelRow,
    ImageRow,
    LabelKind,
    ModelLabelRow,
    ModelRow,
    OperationRow,
    ServiceLabelRow,
    ServiceRow,
)

Found = TypeVar("Found", ModelRow, ImageRow, ServiceRow, OperationRow)
Labelled = TypeVar("Labelled", ModelRow, ImageRow, ServiceRow)
Item = TypeVar("Item")

# The table of labels under another name, so that walking through it and looking into it for
# another label are two things. Made once: that takes longer than the search.
_WALKED: dict[LabelRow, Any] = {
    label: aliased(label) for label in (ModelLabelRow, ImageLabelRow, ServiceLabelRow)
}

_MANY = 5000
"""Rows counted at most, to find which filter fewest rows pass."""


class Narrowed(NamedTuple):
    """The rows that pass some filters, and the column that is their order of creation."""

    query: Select[Any]
    seq: SQLCoreOperations[int]

    def where(self, *conditions: ColumnElement[bool]) -> Narrowed:
        """Those of them that pass these as well."""
        return self._replace(query=self.query.where(*conditions))


def labelled(
    session: Session, row: type[Labelled], label: LabelRow, workspace: str, search: Search
) -> Narrowed:
    """The rows that pass the filters which models, images and services have in common.

    The tag, the property or the name that fewest rows have is walked through, by an index in the
    order of creation; the other filters are looked up for each of those rows. Without being told,
    SQLite walks through a common tag first, or sorts all that have it.
    """
    asked = [_Asked(LabelKind.TAG, text) for text in search.tag]
    asked += [_Asked(LabelKind.PROPERTY, text) for text in search.property]
    conditions = [_has(row, label, one) for one in asked]
    conditions += created(row.created_at, search)
    if search.name is not None:
        conditions.append(row.name == search.name)
    if search.text is not None:
        conditions.append(row.words.contains(folded(search.text), autoescape=True))
    starts = [_labels(row, label, workspace, one) for one in asked]
    if search.name is not None or not starts:
        starts.append(_rows(row, workspace, search.name))
    return _smallest(session, starts).where(*conditions)


def created(column: InstrumentedAttribute[datetime], search: Search) -> list[ColumnElement[bool]]:
    """The conditions on the time of creation."""
    conditions: list[ColumnElement[bool]] = []
    if search.created_after is not None:
        conditions.append(column > search.created_after)
    if search.created_before is not None:
        conditions.append(column < search.created_before)
    return conditions


def refuse(subject: str, search: Search, *fields: str) -> None:
    """Refuse filters that mean nothing here, rather than let them match everything.

    Raises:
        InvalidRequest: One of `fields` is given.
    """
    given = [field for field in fields if getattr(search, field) not in (None, ())]
    if given:
        raise InvalidRequest(
            f"{subject} cannot be searched by {' or '.join(given)}", hint="leave that filter out"
        )


class _Asked(NamedTuple):
    """One label that is asked for: `key` or `key=value`."""

    kind: LabelKind
    text: str

    def matches(self, label: Any) -> list[ColumnElement[bool]]:
        key, equals, value = self.text.partition("=")
        conditions = [label.kind == self.kind, label.key == key]
        return [*conditions, label.value == value] if equals else conditions


class _Start(NamedTuple):
    """One way to walk through rows."""

    size: Select[int]
    walk: Narrowed


def _labels(row: type[Labelled], label: LabelRow, workspace: str, asked: _Asked) -> _Start:
    """The rows with a label, in the order of the labels' index."""
    walked: Any = _WALKED[label]
    conditions = [walked.workspace == workspace, *asked.matches(walked)]
    walk = select(row).join(walked, walked.owner == row.seq).where(*conditions)
    return _Start(select(walked.owner).where(*conditions), Narrowed(walk, walked.owner))


def _rows(row: type[Labelled], workspace: str, name: str | None) -> _Start:
    """The rows of a name, or all."""
    conditions = [row.workspace == workspace]
    if name is not None:
        conditions.append(row.name == name)
    return _Start(
        select(row.seq).where(*conditions), Narrowed(select(row).where(*conditions), row.seq)
    )


def _has(row: type[Labelled], label: LabelRow, asked: _Asked) -> ColumnElement[bool]:
    return exists().where(label.owner == row.seq, *asked.matches(label))


def _smallest(session: Session, starts: Sequence[_Start]) -> Narrowed:
    if len(starts) == 1:
        return starts[0].walk
    return min(starts, key=lambda start: _count(session, start.size)).walk


def _count(session: Session, query: Select[int]) -> int:
    """How many rows there are, as far as it matters."""
    some = query.limit(_MANY).subquery()
    return session.scalar(select(func.count()).select_from(some)) or 0


def page(
    session: Session,
    narrowed: Narrowed,
    search: Search,
    to_domain: Callable[[Sequence[Found]], Sequence[Item]],
) -> Page[Item]:
    """Run a query for one page, newest first.

    Raises:
        InvalidRequest: The cursor is none that this module made.
    """
    if search.page is not None:
        narrowed = narrowed.where(narrowed.seq < position(search.page))
    query = narrowed.query.order_by(narrowed.seq.desc()).limit(search.limit + 1)
    rows: list[Found] = list(session.scalars(query))
    shown = rows[: search.limit]
    following = cursor(shown[-1].seq) if len(rows) > search.limit else None
    return Page[Any](items=tuple(to_domain(shown)), next=following)


def cursor(seq: int) -> str:
    """What names the place behind a row to callers, who need not know what it is."""
    return base64.urlsafe_b64encode(f"seq:{seq}".encode()).decode().rstrip("=")


def position(cursor: str) -> int:
    """The row that a cursor names.

    Raises:
        InvalidRequest: It is none that this module made.
    """
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        kind, _, seq = (
            base64.urlsafe_b64decode(padded.encode("ascii")).decode("ascii").partition(":")
        )
        if kind != "seq" or not seq.isdecimal() or len(seq) > 18:
            raise ValueError(cursor)
        return int(seq)
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest(
            "`page` is not a page of this listing",
            hint="give the `next` of the page before, or leave it out for the first page",
        ) from error
