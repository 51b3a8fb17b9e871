"""One connection to a server: authentication, retries, time limits, errors.

Everything in the SDK reaches the server through here. A request is sent again only when that
cannot do harm: nothing was sent yet, or sending it twice has the effect of sending it once.
"""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit
from uuid import uuid4

import httpx2
from pydantic import BaseModel, ValidationError

from modelyard.domain import hosts
from modelyard.errors import (
    InvalidRequest,
    ModelyardError,
    ServerUnreachable,
    Unauthenticated,
    Unavailable,
    from_wire,
)
from modelyard.pinning import Pin

Answer = TypeVar("Answer", bound=BaseModel)
Parameters = Mapping[str, Any]

PAUSES = (0.1, 0.3, 1.0, 2.0)
"""Seconds before each further attempt; together about as long as a server's restart takes."""
SILENCE = 60.0
"""Longest time in seconds without a byte of an answer."""
WORKED_OUT = 120.0
"""The same where the server works the answer out from records, which it may do for a minute."""
REWRITTEN = 180.0
"""The same where the server writes records anew, which it may do for two minutes."""
_CONNECT = 5.0
_TIMEOUT = httpx2.Timeout(SILENCE, connect=_CONNECT)
_UNSENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
_FOREIGN: dict[int, type[ModelyardError]] = {
    401: Unauthenticated,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}


class Address(NamedTuple):
    """Where a server is, and the token for it."""

    url: str
    token: str
    certificate: Path | None = None
    """PEM file with the one certificate to trust there; None: those of the usual authorities."""


class Connection:
    """Sends requests and rebuilds what comes back; safe to share between threads."""

    def __init__(
        self,
        address: Address,
        transport: httpx2.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.url = checked_url(address.url)
        self._sleep = sleep
        pin = Pin(address.certificate) if address.certificate else None
        self._http = httpx2.Client(
            base_url=f"{self.url}/api/v1",
            headers={"Authorization": f"Bearer {address.token}", "Accept-Encoding": "identity"},
            timeout=_TIMEOUT,
            trust_env=not is_loopback(self.url),
            verify=pin.context if pin else tls(self.url),
            event_hooks={"request": [pin.follow]} if pin else None,
            transport=transport,
        )

    def close(self) -> None:
        """Close the sockets."""
        self._http.close()

    def get(self, path: str, answer: type[Answer], params: Parameters | None = None) -> Answer:
        """Ask for one thing."""
        return parse(answer, self.request("GET", path, params=params))

    def create(
        self, method: str, path: str, body: BaseModel, answer: type[Answer], repeatable: bool = True
    ) -> Answer:
        """Send what creates or changes something, so marked that it takes effect once."""
        headers = {"Content-Type": "application/json"}
        if repeatable:
            headers["Idempotency-Key"] = uuid4().hex
        content = body.model_dump_json(exclude_unset=True).encode()
        response = self.request(
            method, path, content=content, headers=headers, repeatable=repeatable
        )
        return parse(answer, response)

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Parameters | None = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        repeatable: bool | None = None,
        silence: float = SILENCE,
    ) -> httpx2.Response:
        """Send one request and read its answer.

        Args:
            repeatable: Sending it twice does no harm; unset means that it is a GET.
            silence: Longest time in seconds without a byte.

        Raises:
            ModelyardError: What the server answered, or that it cannot be reached.
        """
        timeout = httpx2.Timeout(SILENCE, connect=_CONNECT, read=silence)
        request = self._http.build_request(
            method, path, params=params, content=content, headers=headers, timeout=timeout
        )
        response = self._send(request, method == "GET" if repeatable is None else repeatable)
        raise_error(response, self.url)
        return response

    def send_body(
        self,
        path: str,
        chunks: Iterator[bytes],
        headers: Mapping[str, str],
        params: Parameters | None = None,
    ) -> httpx2.Response:
        """POST a body that is produced piece by piece; sent once, as it may not exist twice."""
        # the server syncs gigabytes before it answers
        timeout = httpx2.Timeout(600.0, connect=_CONNECT)
        request = self._http.build_request(
            "POST", path, params=params, content=chunks, headers=headers, timeout=timeout
        )
        try:
            response = self._http.send(request)
        except httpx2.TransportError as error:
            raise unreachable(self.url, error) from error
        raise_error(response, self.url)
        return response

    @contextmanager
    def stream(
        self,
        path: str,
        params: Parameters | None = None,
        headers: Mapping[str, str] | None = None,
        silence: float = SILENCE,
    ) -> Iterator[httpx2.Response]:
        """Open an answer that is read piece by piece; a break in it raises `TransportError`.

        Args:
            silence: Longest time in seconds without a byte.
        """
        timeout = httpx2.Timeout(SILENCE, connect=_CONNECT, read=silence)
        request = self._http.build_request(
            "GET", path, params=params, headers=headers, timeout=timeout
        )
        response = self._http.send(request, stream=True)
        try:
            if response.is_error:
                response.read()
            raise_error(response, self.url)
            yield response
        finally:
            response.close()

    def pause(self, failures: int, error: ServerUnreachable) -> None:
        """Wait before another attempt; after too many failures raise the last one."""
        if failures > len(PAUSES):
            raise error
        self._sleep(PAUSES[failures - 1])

    def _send(self, request: httpx2.Request, repeatable: bool) -> httpx2.Response:
        failures = 0
        while True:
            try:
                return self._http.send(request)
            except httpx2.TransportError as error:
                failures += 1
                problem = unreachable(self.url, error)
                if not (repeatable or isinstance(error, _UNSENT)):
                    raise problem from error
                self.pause(failures, problem)


def checked_url(url: str) -> str:
    """The address without a final slash.

    Raises:
        InvalidRequest: It is not the address of a server.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise InvalidRequest(
            f"`{url[:200]}` is not the address of a server",
            hint="write it like `https://models.example.org` or `http://127.0.0.1:7878`",
        )
    return url.rstrip("/")


def is_loopback(url: str) -> bool:
    """The address is on this machine, so that no proxy stands between."""
    return hosts.is_loopback(urlsplit(url).hostname or "")


def tls(url: str, authority: str | None = None) -> ssl.SSLContext | bool:
    """How to verify the server at `url`: as usual, and at no cost where there is no TLS.

    Reading the certificate authorities takes longer than a whole request to a local server.

    Args:
        url: Its address.
        authority: PEM of an authority that it may be certified by as well.
    """
    if url.startswith("http:") and is_loopback(url):
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # httpx2 looks for it itself, but not on loopback, where the environment's proxies do not hold.
    authorities = os.environ.get("SSL_CERT_FILE") if is_loopback(url) or authority else None
    if authorities is None and authority is None:
        return True
    context = ssl.create_default_context(cafile=authorities)
    if authority is not None:
        context.load_verify_locations(cadata=authority)
    return context


def parse(answer: type[Answer], response: httpx2.Response) -> Answer:
    """Read the body of a good answer."""
    try:
        return answer.model_validate_json(response.content)
    except ValidationError as error:
        raise ModelyardError(
            f"the answer of {response.request.url.path} is not a {answer.__name__}",
            hint="compare `modelyard version` here with the version of the server",
        ) from error


def raise_error(response: httpx2.Response, url: str) -> None:
    """Raise what the server said was wrong."""
    if response.is_success:
        return
    try:
        body = response.json()
    except ValueError:
        body = None
    if isinstance(body, dict) and isinstance(body.get("code"), str):
        details = body.get("details")
        raise from_wire({**body, "details": details if isinstance(details, dict) else {}})
    kind = _FOREIGN.get(response.status_code, ModelyardError)
    raise kind(
        f"{url} answered with HTTP status {response.status_code} and nothing that Modelyard says",
        hint="check that the address is that of a Modelyard server and that no proxy is in between",
    )


def unreachable(url: str, error: httpx2.TransportError) -> ServerUnreachable:
    """The error for a server that does not answer."""
    reason = str(error) or type(error).__name__
    return ServerUnreachable(
        f"the server at {url} does not answer: {reason}",
        hint="`modelyard server status` shows the local server, `modelyard server start` starts "
        "it; for one elsewhere check MODELYARD_URL",
    )
