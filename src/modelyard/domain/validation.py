"""From what pydantic found to a sentence for the person who wrote it.

Called where a user's words become a `Spec`: the SDK's arguments, a service file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from modelyard.domain.values import NAME_PATTERN, SERVICE_NAME_PATTERN, Spec
from modelyard.errors import InvalidRequest

SpecType = TypeVar("SpecType", bound=Spec)

_PATTERNS = {
    NAME_PATTERN: "a name is made of lower-case letters, digits, `.`, `_` and `-`, begins with a "
    "letter or a digit, and is at most 128 characters long",
    SERVICE_NAME_PATTERN: "a service name is made of lower-case letters, digits and dashes, "
    "begins with a letter, and is 3 to 32 characters long",
}
_SENTENCES = {"extra_forbidden": "there is no such field", "missing": "it is missing"}
_MOST_NAMED = 5


def compose(spec: type[SpecType], fields: Mapping[str, Any], subject: str) -> SpecType:
    """Build a specification from a user's words.

    Raises:
        InvalidRequest: Names `subject`, the first wrong field, and what is accepted there.
    """
    try:
        return spec.model_validate(fields)
    except ValidationError as error:
        raise explain(error.errors(include_input=False), subject) from None


def explain(found: Sequence[ErrorDetails], subject: str) -> InvalidRequest:
    """The error for a user; it never repeats the value, which may be a secret."""
    sentences = [_sentence(problem) for problem in found[:_MOST_NAMED]]
    if len(found) > _MOST_NAMED:
        sentences.append(f"and {len(found) - _MOST_NAMED} more")
    return InvalidRequest(
        f"{subject} is not valid: {'; '.join(sentences)}",
        hint="change that and try again; the reference lists every field and what it accepts",
        details={"fields": [_place(problem) for problem in found][:20]},
    )


def _sentence(problem: ErrorDetails) -> str:
    place = _place(problem)
    text = _reason(problem)
    return f"`{place}`: {text}" if place else text


def _place(problem: ErrorDetails) -> str:
    return ".".join(str(part) for part in problem["loc"])


def _reason(problem: ErrorDetails) -> str:
    if problem["type"] in _SENTENCES:
        return _SENTENCES[problem["type"]]
    pattern = problem.get("ctx", {}).get("pattern")
    text = _PATTERNS.get(pattern or "", problem["msg"])
    text = text.removeprefix("Value error, ")
    return text if text[:2].isupper() else text[:1].lower() + text[1:]
