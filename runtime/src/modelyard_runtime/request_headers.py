"""The headers of a request as a script gets them, if its `run` has a parameter for them."""

from __future__ import annotations

from typing import Any

from modelyard_runtime.capture.wanted import FIELD
from modelyard_runtime.http.messages import Headers

PARAMETER = "request_headers"
"""A parameter of `run` by this name gets the request's headers."""


class RequestHeaders(dict[str, str]):
    """The headers for a script: `Title-Case` names, found in any case; repeated ones joined."""

    def __init__(self, headers: Headers) -> None:
        super().__init__()
        for name, value in headers:
            if name == FIELD:  # between gateway and runtime
                continue
            key, text = name.decode("latin-1").title(), value.decode("latin-1")
            self[key] = f"{self[key]}, {text}" if key in self else text

    def __missing__(self, name: str) -> str:
        title = name.title()
        if title == name:
            raise KeyError(name)
        return self[title]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and super().__contains__(name.title())

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a header in any case, or `default`."""
        return super().get(name.title(), default)
