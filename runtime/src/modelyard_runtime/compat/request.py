"""`@rawhttp` and `AMLRequest`: a `run` gets the request, with what scripts know from Flask."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cached_property
from io import BytesIO
from typing import Any, TypeVar
from urllib.parse import parse_qsl, quote

from modelyard_runtime.compat import RAW
from modelyard_runtime.compat.fields import HeaderFields, MultiDict
from modelyard_runtime.compat.forms import (
    MOST_PARTS,
    Fields,
    Files,
    read_multipart,
    read_urlencoded,
)
from modelyard_runtime.http.messages import Request

_Run = TypeVar("_Run", bound=Callable[..., Any])
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


def rawhttp(func: _Run) -> _Run:
    """Let a `run` get every request to `/score` as an `AMLRequest`, of whatever method."""
    setattr(func, RAW, True)
    return func


def is_json(mimetype: str) -> bool:
    """Whether a content type without parameters says JSON."""
    return mimetype == "application/json" or (
        mimetype.startswith("application/") and mimetype.endswith("+json")
    )


def split_content_type(value: str) -> tuple[str, dict[str, str]]:
    """A content type's lower-case name and its parameters."""
    name, *rest = value.split(";")
    pairs = (parameter.partition("=") for parameter in rest)
    return name.strip().lower(), {key.strip().lower(): v.strip().strip('"') for key, _, v in pairs}


class AMLRequest:
    """One request. What is read from it is read when it is asked for, and once."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self.method = request.method
        self.path = request.path
        self.query_string = request.query.encode()
        self.scheme = "http"
        self.is_secure = False

    @cached_property
    def headers(self) -> HeaderFields:
        """Fields in any case; `dict(request.headers)` has names in `Title-Case`."""
        fields: dict[str, str] = {}
        for key, value in self._request.headers:
            name, text = key.decode("latin-1").title(), value.decode("latin-1")
            fields[name] = f"{fields[name]},{text}" if name in fields else text
        return HeaderFields(fields.items())

    @cached_property
    def args(self) -> MultiDict:
        """Fields of the query; more than a thousand are a ValueError."""
        query = self._request.query
        return MultiDict(parse_qsl(query, keep_blank_values=True, max_num_fields=MOST_PARTS))

    @property
    def data(self) -> bytes:
        """The body; empty for a form, which is in `form` and `files`."""
        return b"" if self.mimetype in _FORMS else self._request.body

    def get_data(
        self, cache: bool = True, as_text: bool = False, parse_form_data: bool = False
    ) -> Any:
        """The body as bytes, or as text."""
        body = self.data if parse_form_data else self._request.body
        return body.decode("utf-8", "replace") if as_text else body

    @cached_property
    def stream(self) -> BytesIO:
        """The body as a file."""
        return BytesIO(self._request.body)

    @property
    def is_json(self) -> bool:
        """The content type says JSON."""
        return is_json(self.mimetype)

    @property
    def json(self) -> Any:
        """The body parsed as JSON."""
        return self.get_json()

    def get_json(self, force: bool = False, silent: bool = False, cache: bool = True) -> Any:
        """The body parsed as JSON.

        Args:
            force: Whatever the content type says.
            silent: None instead of an error.
            cache: For the original's sake; a body is parsed whenever it is asked for.

        Raises:
            ValueError: The content type is not JSON, or the body is not.
        """
        if not (force or self.is_json):
            if silent:
                return None
            raise ValueError("The content type of the request is not application/json.")
        try:
            return json.loads(self._request.body)
        except ValueError:
            if silent:
                return None
            raise

    @property
    def content_type(self) -> str | None:
        """The header as it came."""
        value = self._request.headers.get(b"content-type")
        return None if value is None else value.decode("latin-1")

    @property
    def mimetype(self) -> str:
        """The content type without its parameters, in lower case."""
        return self._content_type[0]

    @property
    def mimetype_params(self) -> dict[str, str]:
        """The parameters of the content type."""
        return self._content_type[1]

    @property
    def content_length(self) -> int:
        """Length of the body in bytes."""
        return len(self._request.body)

    @cached_property
    def form(self) -> MultiDict:
        """Fields of a form, without its files."""
        return MultiDict(self._form[0])

    @cached_property
    def files(self) -> MultiDict:
        """Files of a multipart form, each with `filename`, `read()` and `save()`."""
        return MultiDict(self._form[1])

    @cached_property
    def values(self) -> MultiDict:
        """Fields of the query and of the form together."""
        pairs = [(name, value) for name, all_ in self.args.lists() for value in all_]
        return MultiDict([*pairs, *self._form[0]])

    @cached_property
    def cookies(self) -> MultiDict:
        """Cookies by name."""
        crumbs = str(self.headers.get("Cookie", "")).split(";")
        pairs = (crumb.strip().partition("=") for crumb in crumbs if "=" in crumb)
        return MultiDict((name, value.strip('"')) for name, _, value in pairs)

    @property
    def host(self) -> str:
        """The name that the client called."""
        return str(self.headers.get("Host", ""))

    @property
    def host_url(self) -> str:
        """The address of the host, ending with `/`."""
        return f"{self.scheme}://{self.host}/"

    url_root = host_url

    @property
    def base_url(self) -> str:
        """The whole address without the query."""
        return self.host_url[:-1] + quote(self.path, safe="/!$&'()*+,;=:@~")

    @property
    def url(self) -> str:
        """The whole address."""
        return f"{self.base_url}?{self._request.query}" if self._request.query else self.base_url

    @property
    def full_path(self) -> str:
        """Path, `?` and query."""
        return f"{self.path}?{self._request.query}"

    @cached_property
    def environ(self) -> dict[str, Any]:
        """The request as WSGI names its parts."""
        fields = {
            f"HTTP_{name.upper().replace('-', '_')}": value for name, value in self.headers.items()
        }
        return fields | {
            "REQUEST_METHOD": self.method,
            "PATH_INFO": self.path,
            "QUERY_STRING": self._request.query,
            "CONTENT_TYPE": self.content_type or "",
            "CONTENT_LENGTH": str(self.content_length),
            "SERVER_PROTOCOL": f"HTTP/{self._request.version}",
            "wsgi.url_scheme": self.scheme,
            "wsgi.input": self.stream,
        }

    @cached_property
    def _content_type(self) -> tuple[str, dict[str, str]]:
        return split_content_type(self.content_type or "")

    @cached_property
    def _form(self) -> tuple[Fields, Files]:
        """Fields and files; what cannot be read is a `MalformedForm`."""
        if self.mimetype == _FORMS[0]:
            return read_urlencoded(self._request.body), []
        if self.mimetype == _FORMS[1]:
            return read_multipart(self._request.body, self.mimetype_params.get("boundary", ""))
        return [], []
