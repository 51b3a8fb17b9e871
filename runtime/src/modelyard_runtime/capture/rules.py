"""What of a body may be recorded: named fields are dropped or hashed before anything is written.

A rule names a field: a key of a JSON object at any depth, or the last keys of a path, such as
`customer.id`.
A body in which it cannot be seen whether the field is there is not recorded at all.
"""

from __future__ import annotations

import binascii
import hmac
from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Any

import orjson

HASHED = "hmac:"
"""In front of a hash."""
_DIGITS = 32
_ROWS = ("data", "inputs", "instances")
"""Keys under which protocols have rows, whose values have no name unless rows are objects."""

_SPACE = b" \t\r\n"

Path = tuple[str, ...]


class Unreadable(ValueError):
    """A rule cannot be applied to a body."""


def hash_value(value: Any, key: bytes) -> str:
    """What is recorded in the place of a string, number or truth value.

    The same value has the same hash under the same key; `7`, `7.0` and `"7"` are the same.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = value.encode() if isinstance(value, str) else str(value).lower().encode()
    return HASHED + hmac.digest(key, text, "sha256").hex()[:_DIGITS]


def fits(path: Path, field: str) -> bool:
    """Whether a rule's field is the last part of a path."""
    text = ".".join(path)
    return text == field or text.endswith(f".{field}")


class Rules:
    """The rules of one service.

    Args:
        drop: Fields that are left out.
        hashed: Fields whose values are replaced by their hashes; of the same values the same.
        key: Of the hashes.
    """

    __slots__ = ("_drop", "_hashed", "_key")

    def __init__(self, drop: Sequence[str], hashed: Sequence[str], key: bytes) -> None:
        self._drop = tuple(drop)
        self._hashed = tuple(hashed)
        self._key = key

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rules) and self.encode() == other.encode()

    def __hash__(self) -> int:
        return hash(self.encode())

    def encode(self) -> str:
        """As text without spaces or semicolons."""
        return b64encode(orjson.dumps([self._drop, self._hashed, self._key.hex()])).decode()

    @classmethod
    def parse(cls, text: str) -> Rules:
        """Read what `encode` has written.

        Raises:
            ValueError: It is something else.
        """
        try:
            drop, hashed, key = orjson.loads(b64decode(text, validate=True))
            return cls(drop, hashed, bytes.fromhex(key))
        except (binascii.Error, TypeError) as error:
            raise ValueError(str(error)) from error

    def body(self, body: bytes, *, is_input: bool) -> bytes:
        """A JSON body without what the rules take out; as it came where that is nothing.

        Args:
            body: What came, or is sent.
            is_input: Its rows are to have names: rows that are lists of values only with `columns`.

        Raises:
            Unreadable: It is no JSON, or has rows of values without names.
        """
        try:
            taken = orjson.dumps(_Pass(self, is_input).value(orjson.loads(body), ()))
        except (ValueError, TypeError, RecursionError) as error:
            raise Unreadable(str(error)) from error
        # By the bytes: of a key that is there twice, the first value is in the body only.
        return body if taken.translate(None, _SPACE) == body.translate(None, _SPACE) else taken

    def verb(self, path: Path) -> str:
        """`drop`, `hash`, or nothing for a value at a path."""
        if any(fits(path, field) for field in self._drop):
            return "drop"
        return "hash" if any(fits(path, field) for field in self._hashed) else ""

    def replaced(self, value: Any, verb: str) -> Any:
        """Every value below this one as its verb has it, where it stands; null stays."""
        if isinstance(value, dict):
            return {name: self.replaced(item, verb) for name, item in value.items()}
        if isinstance(value, list):
            return [self.replaced(item, verb) for item in value]
        return None if value is None else self.stand_in(value, verb)

    def stand_in(self, value: Any, verb: str) -> Any:
        """What is recorded in the place of a string, number or truth value."""
        del verb  # there is only one, here
        return hash_value(value, self._key)


class _Pass:
    """One way through a body."""

    def __init__(self, rules: Rules, is_input: bool) -> None:
        self._rules = rules
        self._is_input = is_input

    def value(self, value: Any, path: Path) -> Any:
        if isinstance(value, dict):
            return self._object(value, path)
        if isinstance(value, list):
            self._refuse_unnamed(value, path)
            return [self.value(item, path) for item in value]
        if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
            return self._text(value, path)
        return value

    def _object(self, given: dict[str, Any], path: Path) -> dict[str, Any]:
        if isinstance(given.get("columns"), list) and isinstance(given.get("data"), list):
            given = {**given, **self._columns(given["columns"], given["data"], path)}
            done = {"columns", "data"}
        else:
            done = set()
        taken = {}
        for name, item in given.items():
            verb = self._rules.verb((*path, name))
            here = (*path, name)
            if name == "data" and isinstance(item, list) and isinstance(given.get("name"), str):
                here = (*path, given["name"])  # a tensor: its name is the field's
                verb = verb or self._rules.verb(here)
                if not verb:
                    taken[name] = self._tensor(item, given.get("shape"), here)
                    continue
            if verb and verb != "drop":
                taken[name] = self._rules.replaced(item, verb)
            elif not verb:
                taken[name] = item if name in done else self.value(item, here)
        return taken

    def _columns(self, columns: list[Any], rows: list[Any], path: Path) -> dict[str, Any]:
        """Rows that are lists of values, under the names of their columns."""
        places = [(*path, str(name)) for name in columns]
        verbs = [self._rules.verb(place) for place in places]
        kept = []
        for row in rows:
            if not isinstance(row, list) or len(row) != len(columns):
                raise Unreadable("a row is not as long as its columns are many")
            kept.append(
                [
                    self._rules.replaced(item, verb) if verb else self.value(item, place)
                    for item, verb, place in zip(row, verbs, places, strict=True)
                    if verb != "drop"
                ]
            )
        names = [name for name, verb in zip(columns, verbs, strict=True) if verb != "drop"]
        return {"columns": names, "data": kept}

    def _tensor(self, data: list[Any], shape: Any, path: Path) -> Any:
        is_wide = not isinstance(shape, list) or any(length != 1 for length in shape[1:])
        if self._is_input and is_wide:
            raise Unreadable("the columns of a tensor have no names")
        return _Pass(self._rules, is_input=False).value(data, path)

    def _text(self, text: str, path: Path) -> str:
        """A string that may be JSON itself."""
        try:
            inner = orjson.loads(text)
        except ValueError:
            return text
        return orjson.dumps(self.value(inner, path)).decode()

    def _refuse_unnamed(self, items: list[Any], path: Path) -> None:
        if not self._is_input:
            return
        are_rows = not path or path[-1].lower() in _ROWS
        for item in items:
            if isinstance(item, list) or (are_rows and not isinstance(item, dict)):
                raise Unreadable("rows have values without names")
