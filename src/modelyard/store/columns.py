"""Column types and the base class of all rows."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Generic, TypeVar
from uuid import UUID

from pydantic import TypeAdapter
from sqlalchemy import BigInteger, DateTime, Dialect, Enum, Integer, MetaData, Text, Uuid
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import TypeDecorator, TypeEngine

Content = TypeVar("Content")

Sequence = BigInteger().with_variant(Integer, "sqlite")
"""Type of the columns that count rows in the order of their creation."""


class Utc(TypeDecorator[datetime]):
    """A moment; in the database always UTC, in Python always aware."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse a time whose zone is unknown."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value} has no time zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """SQLite forgets the zone; it is UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Document(TypeDecorator[Content], Generic[Content]):
    """A domain value kept whole, as JSON text: never searched, always read back as its type."""

    impl = Text
    cache_ok = True

    def __init__(self, content: Any) -> None:
        super().__init__()
        self.content = content
        self._adapter: TypeAdapter[Content] = TypeAdapter(content)

    def process_bind_param(self, value: Content | None, dialect: Dialect) -> str | None:
        """None is SQL's null."""
        return None if value is None else self._adapter.dump_json(value).decode()

    def process_result_value(self, value: str | None, dialect: Dialect) -> Content | None:
        """The value as it was stored."""
        return None if value is None else self._adapter.validate_json(value)


class Json(TypeDecorator[Any]):
    """Any JSON value, as text."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """None is SQL's null."""
        return None if value is None else json.dumps(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        """The value as it was stored."""
        return None if value is None else json.loads(value)


class Line(TypeDecorator[str]):
    """Text from outside; what databases refuse in a text (NUL, lone surrogates) is replaced."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Text that every database takes."""
        if value is None:
            return None
        return value.encode(errors="replace").decode().replace("\0", "\ufffd")


def one_of(states: type[StrEnum], name: str) -> Enum:
    """A column that holds the values of an enumeration, checked by the database."""
    return Enum(
        states,
        name=name,
        native_enum=False,
        create_constraint=True,
        values_callable=lambda enumeration: [state.value for state in enumeration],
    )


class Base(DeclarativeBase):
    """Base of every row."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: dict[Any, TypeEngine[Any] | type[TypeEngine[Any]]] = {
        datetime: Utc(),
        UUID: Uuid(),
        str: Text(),
    }
