"""Columns that tables of several nouns have."""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from modelyard.store.columns import Sequence

DIGEST = String(71)


class LabelKind(StrEnum):
    """Tags change; properties are only added."""

    TAG = "tag"
    PROPERTY = "property"


def of_workspace() -> Mapped[str]:
    """The workspace that a row belongs to."""
    return mapped_column(ForeignKey("workspace.name"))


def sequence() -> Mapped[int]:
    """Counts rows in the order of their creation."""
    return mapped_column(Sequence, primary_key=True, autoincrement=True)
