"""What can be asked when listing models, images and services: any combination, newest first."""

from __future__ import annotations

from datetime import datetime
from typing import Generic, TypeVar

from pydantic import Field

from modelyard.domain.values import Spec, Value

Item = TypeVar("Item")


class Search(Spec):
    """Every filter given must match."""

    name: str | None = None
    """Exact name."""
    version: int | None = Field(None, ge=1)
    """Exact version; not for services."""
    tag: tuple[str, ...] = ()
    """`key` or `key=value`; each must match."""
    property: tuple[str, ...] = ()
    """`key` or `key=value`; each must match."""
    framework: str | None = None
    """Models only."""
    model: str | None = None
    """`name` or `name:version` of a model inside; images and services."""
    image: str | None = None
    """`name` or `name:version` of the image that runs; services."""
    created_after: datetime | None = None
    created_before: datetime | None = None
    text: str | None = Field(None, min_length=1, max_length=200)
    """Part of a name, a description, a tag or a property; case does not matter."""
    limit: int = Field(50, ge=1, le=1000)
    page: str | None = None
    """`next` of the page before."""


class Page(Value, Generic[Item]):
    """One page of a listing."""

    items: tuple[Item, ...]
    next: str | None = None
    """Give it as `page` for what follows; null on the last page."""
