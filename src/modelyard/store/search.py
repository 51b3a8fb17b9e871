"""Turns a `Search` into a query: any filters together, newest first, paged by a cursor."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Select, and_, select
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from modelyard.domain.search import Page, Search
from modelyard.errors import InvalidRequest
from modelyard.store.labels import LabelRow, folded
from modelyard.store.rows import ImageRow, LabelKind, ModelRow, OperationRow, ServiceRow

Found = TypeVar("Found", ModelRow, ImageRow, ServiceRow, OperationRow)
Labelled = TypeVar("Labelled", ModelRow, ImageRow, ServiceRow)
Item = TypeVar("Item")


def select_labelled(
    row: type[Labelled], label: LabelRow, workspace: str, search: Search
) -> Select[Labelled]:
    """The rows that pass the filters which models, images and services have in common."""
    query = select(row).where(row.workspace == workspace, *created(row.created_at, search))
    if search.name is not None:
        query = query.where(row.name == search.name)
    if search.text is not None:
        query = query.where(row.words.contains(folded(search.text), autoescape=True))
    for wanted in search.tag:
        query = _join_label(query, row, label, workspace, LabelKind.TAG, wanted)
    for wanted in search.property:
        query = _join_label(query, row, label, workspace, LabelKind.PROPERTY, wanted)
    return query


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


def _join_label(
    query: Select[Labelled],
    row: type[Labelled],
    label: LabelRow,
    workspace: str,
    kind: LabelKind,
    wanted: str,
) -> Select[Labelled]:
    key, equals, value = wanted.partition("=")
    other: Any = aliased(label)
    conditions: list[ColumnElement[bool]] = [
        other.owner == row.seq,
        other.workspace == workspace,
        other.kind == kind,
        other.key == key,
    ]
    if equals:
        conditions.append(other.value == value)
    return query.join(other, and_(*conditions))


def page(
    session: Session,
    query: Select[Found],
    row: type[Found],
    search: Search,
    to_domain: Callable[[Sequence[Found]], Sequence[Item]],
) -> Page[Item]:
    """Run a query for one page, newest first.

    Raises:
        InvalidRequest: The cursor is none that this module made.
    """
    if search.page is not None:
        query = query.where(row.seq < _decode(search.page))
    rows = list(session.scalars(query.order_by(row.seq.desc()).limit(search.limit + 1)))
    shown = rows[: search.limit]
    following = _encode(shown[-1].seq) if len(rows) > search.limit else None
    return Page[Any](items=tuple(to_domain(shown)), next=following)


def _encode(seq: int) -> str:
    return base64.urlsafe_b64encode(f"seq:{seq}".encode()).decode().rstrip("=")


def _decode(cursor: str) -> int:
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
