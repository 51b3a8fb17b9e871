"""What models, images and services have in common: search and labels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, ClassVar, Generic, TypedDict, TypeVar, Unpack

from pydantic import BaseModel

from modelyard.client.connection import Connection, parse
from modelyard.domain.search import Page, Search
from modelyard.domain.validation import compose
from modelyard.schemas import ChangeLabels

Item = TypeVar("Item", bound=BaseModel)


class Filters(TypedDict, total=False):
    """What to search for; every filter given must match."""

    name: str
    """Exact name."""
    version: int
    """Exact version; not for services."""
    tag: str | Sequence[str]
    """`key` or `key=value`, or several of them."""
    property: str | Sequence[str]
    """`key` or `key=value`, or several of them."""
    framework: str
    """Models only."""
    model: str
    """`name` or `name:version` of a model inside; images and services."""
    image: str
    """`name` or `name:version` of the image that runs; services."""
    created_after: datetime
    """Without a zone it is local time."""
    created_before: datetime
    """Without a zone it is local time."""
    text: str
    """Part of a name, a description, a tag or a property; case does not matter."""


class Collection(ABC, Generic[Item]):
    """Things of one kind on a server."""

    _kind: ClassVar[str]
    _item: type[Item]
    _page: type[Page[Item]]

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, reference: str) -> Item:
        """One of them, as it is now.

        Raises:
            NotFound: There is none.
        """
        return self._connection.get(self._path(reference), self._item)

    def page(
        self, *, limit: int = 50, page: str | None = None, **filters: Unpack[Filters]
    ) -> Page[Item]:
        """One page of what matches, newest first.

        Args:
            limit: Most items on the page, 1 to 1,000.
            page: `next` of the page before; unset for the first.
            **filters: See `Filters`; all must match.
        """
        search = compose(Search, _spelled(filters) | {"limit": limit, "page": page}, "the search")
        params = search.model_dump(mode="json", exclude_none=True)
        return self._connection.get(f"/{self._kind}s", self._page, params)

    def search(self, **filters: Unpack[Filters]) -> Iterator[Item]:
        """Everything that matches, newest first, fetched page by page as it is read."""
        page = self.page(limit=200, **filters)
        yield from page.items
        while page.next is not None:
            page = self.page(limit=200, page=page.next, **filters)
            yield from page.items

    def change_labels(self, reference: str, change: ChangeLabels) -> Item:
        """Change tags or the description, add properties; what is absent stays."""
        content = change.model_dump_json(exclude_unset=True).encode()
        response = self._connection.request(
            "PATCH",
            self._labels_path(reference),
            content=content,
            headers={"Content-Type": "application/json"},
            repeatable=True,
        )
        return parse(self._item, response)

    def add_tags(self, reference: str, tags: Mapping[str, str]) -> Item:
        """Add tags; a key that is there gets the new value."""
        return self._change(reference, add_tags=tags)

    def remove_tags(self, reference: str, *keys: str) -> Item:
        """Remove tags; a key that is not there is no error."""
        return self._change(reference, remove_tags=keys)

    def replace_tags(self, reference: str, tags: Mapping[str, str]) -> Item:
        """Put these tags in place of all others."""
        return self._change(reference, tags=tags)

    def add_properties(self, reference: str, properties: Mapping[str, str]) -> Item:
        """Add properties; they can never be changed or removed.

        Raises:
            Conflict: A key is there with another value.
        """
        return self._change(reference, add_properties=properties)

    def describe(self, reference: str, description: str) -> Item:
        """Replace the description."""
        return self._change(reference, description=description)

    def list(self, *, limit: int | None = None, **filters: Unpack[Filters]) -> tuple[Item, ...]:
        """What `search` finds, at once; the newest `limit` of it, or all when unset."""
        return tuple(islice(self.search(**filters), limit))

    def _change(self, reference: str, **fields: Any) -> Item:
        return self.change_labels(reference, compose(ChangeLabels, fields, "the change"))

    @abstractmethod
    def _path(self, reference: str) -> str: ...

    def _labels_path(self, reference: str) -> str:
        return self._path(reference)


def _spelled(filters: Filters) -> dict[str, Any]:
    """The filters with a single tag or property as a list of one, and times with their zone."""
    fields: dict[str, Any] = dict(filters)
    for name, value in filters.items():
        if name in ("tag", "property") and isinstance(value, str):
            fields[name] = (value,)
        elif isinstance(value, datetime):
            fields[name] = value.astimezone()
    return fields
