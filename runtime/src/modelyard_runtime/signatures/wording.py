"""Says what is wrong in the words of the data: `rows[3].width: expected a number, got text`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from modelyard_runtime.http.server import HttpError

_PLACED = re.compile(r"(.*?)(?: - at `(key` in `)?\$(.*)`)?", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*)`")
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`")
_TYPES = re.compile(r"`([a-z_]+(?: \| [a-z_]+)*)`")
_LONGEST = 300
_WORDS = {
    "array": "an array",
    "bool": "a boolean",
    "bytes": "text in base64",
    "date": "a date",
    "datetime": "a date and time",
    "float": "a number",
    "int": "an integer",
    "null": "null",
    "object": "an object",
    "str": "text",
    "time": "a time",
    "uuid": "a UUID",
}
_BY_TYPE = {
    bool: "bool",
    dict: "object",
    float: "float",
    int: "int",
    list: "array",
    str: "str",
    type(None): "null",
}


def unfit(name: str, problem: str) -> HttpError:
    """The refusal of a value; `name` is where it was found."""
    return HttpError(422, f"{name}: {problem}"[:_LONGEST])


def misfit(name: str, error: Exception, spell_out: Callable[[str], str] | None = None) -> HttpError:
    """The refusal that an error of msgspec makes.

    Args:
        name: The parameter whose value does not fit.
        error: What msgspec raised.
        spell_out: Completes the path of a place inside the value.
    """
    match = _PLACED.fullmatch(str(error))
    assert match is not None
    problem, of_key, path = match[1], match[2], match[3] or ""
    if spell_out is not None and "..." in path:
        path = spell_out(path)
    path = name + path
    field = _MISSING.fullmatch(problem)
    if field:
        return unfit(f"{path}.{field[1]}", "is missing")
    field = _UNKNOWN.fullmatch(problem)
    if field:
        return unfit(f"{path}.{field[1]}", "is not known")
    if problem.startswith("Expected"):
        problem = _TYPES.sub(lambda found: " or ".join(map(_word, found[1].split(" | "))), problem)
    problem = problem[:1].lower() + problem[1:]
    return unfit(f"a key of {path}" if of_key else path, problem)


def kind_of(value: Any) -> str:
    """What a value from JSON is, such as `a number`."""
    return _WORDS[_BY_TYPE.get(type(value), "object")]


def at(name: str, path: Iterable[int | str]) -> str:
    """A place inside a value: `rows[3].width`."""
    return name + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)


def _word(name: str) -> str:
    return _WORDS.get(name, name)
