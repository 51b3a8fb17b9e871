"""Multi-valued mappings of a request, with the methods that scripts know from Flask."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class MultiDict(dict[str, Any]):
    """Values by name, in the order they came; `[]` gives the first, `getlist` all."""

    def __init__(self, pairs: Iterable[tuple[str, Any]] = ()) -> None:
        super().__init__()
        self._lists: dict[str, list[Any]] = {}
        for name, value in pairs:
            self._lists.setdefault(name, []).append(value)
            self.setdefault(name, value)

    def get(self, name: str, default: Any = None, type: Callable[[Any], Any] | None = None) -> Any:
        """The first value, through `type` if given; `default` if there is none that fits."""
        if name not in self:
            return default
        try:
            return self[name] if type is None else type(self[name])
        except (ValueError, TypeError):
            return default

    def getlist(self, name: str, type: Callable[[Any], Any] | None = None) -> list[Any]:
        """Every value of a name; those that `type` refuses are left out."""
        values = list(self._lists.get(name, []))
        if type is None:
            return values
        converted = []
        for value in values:
            with suppress(ValueError, TypeError):
                converted.append(type(value))
        return converted

    def to_dict(self, flat: bool = True) -> dict[str, Any]:
        """A plain dictionary of first values, or of lists of all."""
        return dict(self) if flat else {name: list(values) for name, values in self.lists()}

    def lists(self) -> Iterator[tuple[str, list[Any]]]:
        """Names with all their values."""
        return iter(self._lists.items())


class HeaderFields:
    """Header fields in order, found by name in any case."""

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self._pairs: list[tuple[str, str]] = []
        for name, value in pairs:
            self.add(name, value)

    def add(self, name: str, value: object) -> None:
        """Append a field; one of the same name stays.

        Raises:
            ValueError: The name is none, or the value holds a line break, which ends fields.
        """
        if not _NAME.fullmatch(name):
            raise ValueError(f"a header field cannot be called {name!r}")
        self._pairs.append((name, _clean(value)))

    add_header = add

    def set(self, name: str, value: object) -> None:
        """Put a field in the place of all of its name."""
        self.remove(name)
        self.add(name, value)

    def remove(self, name: str) -> None:
        """Take all fields of a name away."""
        wanted = name.lower()
        self._pairs = [pair for pair in self._pairs if pair[0].lower() != wanted]

    def getlist(self, name: str) -> list[str]:
        """Every value of a name."""
        wanted = name.lower()
        return [value for key, value in self._pairs if key.lower() == wanted]

    get_all = getlist

    def get(self, name: str, default: Any = None) -> Any:
        """The first value of a name, or `default`."""
        return next(iter(self.getlist(name)), default)

    def keys(self) -> list[str]:
        """Every name, as often as it comes."""
        return [name for name, _ in self._pairs]

    def values(self) -> list[str]:
        """Every value."""
        return [value for _, value in self._pairs]

    def items(self) -> list[tuple[str, str]]:
        """Every field."""
        return list(self._pairs)

    def __getitem__(self, name: str) -> str:
        values = self.getlist(name)
        if not values:
            raise KeyError(name)
        return values[0]

    __setitem__ = set
    __delitem__ = remove

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(self.getlist(name))

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._pairs)

    def __len__(self) -> int:
        return len(self._pairs)


def _clean(value: object) -> str:
    text = str(value)
    if "\r" in text or "\n" in text or "\0" in text:
        raise ValueError("a header field must not hold a line break")
    return text
