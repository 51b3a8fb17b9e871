"""Answers that come line by line, one JSON object each: read by logs and by verifications."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import httpx2
from pydantic import BaseModel, ValidationError

from modelyard.errors import ModelyardError

Line = TypeVar("Line", bound=BaseModel)


def read_lines(response: httpx2.Response, kind: type[Line]) -> Iterator[Line]:
    """Every line as it comes.

    Raises:
        ModelyardError: A line is something else.
    """
    rest = b""
    for chunk in response.iter_raw():
        # Split at line feeds only: other characters that end lines may stand inside a text.
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield _parse(line, kind, response.request.url.path)


def _parse(line: bytes, kind: type[Line], path: str) -> Line:
    try:
        return kind.model_validate_json(line)
    except ValidationError as error:
        raise ModelyardError(
            f"the answer of {path} has a line that is not a {kind.__name__}",
            hint="compare `modelyard version` here with the version of the server",
        ) from error
