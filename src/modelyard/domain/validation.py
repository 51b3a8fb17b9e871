"""From what pydantic found to a sentence for the person who wrote it.

Called where a user's words become a `Spec`: the SDK's arguments, a service file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ValidationError
from pydantic_core import ErrorDetails

from modelyard.domain.service import ORIGIN_PATTERN
from modelyard.domain.values import (
    NAME_PATTERN,
    SERVICE_NAME_PATTERN,
    Spec,
    duration_text,
    parse_bytes,
    parse_duration,
    size_text,
)
from modelyard.errors import InvalidRequest

SpecType = TypeVar("SpecType", bound=Spec)

_PATTERNS = {
    NAME_PATTERN: "a name is made of lower-case letters, digits, `.`, `_` and `-`, begins with a "
    "letter or a digit, and is at most 128 characters long",
    SERVICE_NAME_PATTERN: "a service name is made of lower-case letters, digits and dashes, "
    "begins with a letter, and is 3 to 32 characters long",
    ORIGIN_PATTERN: "an origin is scheme, host and port without a path, such as "
    "`https://app.example`, or `*`",
}
_BOUNDS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
_UNITS: dict[Any, Callable[[Any], str]] = {parse_duration: duration_text, parse_bytes: size_text}
_SENTENCES = {
    "extra_forbidden": "there is no such field",
    "missing": "it is missing",
    "tuple_type": 'it has to be a list, as `["one", "another"]`',
}
_HINT = "change that and try again; the reference lists every field and what it accepts"
_HINTS = {
    "alerts": "rules are `error_rate>5%`, `p99>500ms over 15m`, `silence>10m`, `capture_drops>0`, "
    "`drift`, `accuracy<0.9`; docs/guides/alerts.md says what each means",
}
"""What to do about a field that the reference alone does not explain."""
_MOST_NAMED = 5


def compose(spec: type[SpecType], fields: Mapping[str, Any], subject: str) -> SpecType:
    """Build a specification from a user's words.

    Raises:
        InvalidRequest: Names `subject`, the first wrong field, and what is accepted there.
    """
    try:
        return spec.model_validate(fields)
    except ValidationError as error:
        raise explain(error.errors(include_input=False), subject, spec) from None


def explain(
    found: Sequence[ErrorDetails], subject: str, spec: type[BaseModel] | None = None
) -> InvalidRequest:
    """The error for a user; it never repeats the value, which may be a secret.

    Args:
        found: What pydantic found.
        subject: What was looked at.
        spec: What it was to be; with it bounds are told in the units of their fields.
    """
    sentences = [_sentence(problem, spec) for problem in found[:_MOST_NAMED]]
    if len(found) > _MOST_NAMED:
        sentences.append(f"and {len(found) - _MOST_NAMED} more")
    return InvalidRequest(
        f"{subject} is not valid: {'; '.join(sentences)}",
        hint=next(filter(None, map(_hint, found)), _HINT),
        details={"fields": [_place(problem) for problem in found][:20]},
    )


def _hint(problem: ErrorDetails) -> str | None:
    return next((_HINTS[part] for part in map(str, problem["loc"]) if part in _HINTS), None)


def _sentence(problem: ErrorDetails, spec: type[BaseModel] | None) -> str:
    place = _place(problem)
    text = _bound(problem, spec) or _reason(problem)
    return f"`{place}`: {text}" if place else text


def _place(problem: ErrorDetails) -> str:
    return ".".join(str(part) for part in problem["loc"])


def _bound(problem: ErrorDetails, spec: type[BaseModel] | None) -> str:
    """What a number has to be, `it has to be at least 64.0 MiB`; empty: it is not about a bound."""
    context = problem.get("ctx", {})
    if problem["type"] == "too_short":
        return f"it has to have at least {context['min_length']}"
    bound = next((name for name in _BOUNDS if name in context), None)
    if bound is None:
        return ""
    unit = _unit(spec, problem["loc"]) or "{:g}".format
    return f"it has to be {_BOUNDS[bound]} {unit(context[bound])}"


def _unit(
    spec: type[BaseModel] | None, place: tuple[int | str, ...]
) -> Callable[[Any], str] | None:
    """How people read the number at a place; None for one without a unit, or not found."""
    for part in place:
        field = spec.model_fields.get(str(part)) if spec is not None else None
        if field is None:
            return None
        read = [one.func for one in field.metadata if isinstance(one, BeforeValidator)]
        if read:
            return _UNITS.get(read[0])
        kind = field.annotation
        spec = kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None
    return None


def _reason(problem: ErrorDetails) -> str:
    if problem["type"] in _SENTENCES:
        return _SENTENCES[problem["type"]]
    pattern = problem.get("ctx", {}).get("pattern")
    text = _PATTERNS.get(pattern or "", problem["msg"])
    text = text.removeprefix("Value error, ")
    return text if text[:2].isupper() else text[:1].lower() + text[1:]
