"""Requests to one image registry: who asks, when to try again, and where a redirect may lead.

Nothing that a registry says is trusted: plain HTTP is spoken with this machine only, credentials go
to nobody but the registry and the token server it names over TLS, and answers are read with limits.
"""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx2

from modelyard.domain.hosts import is_loopback
from modelyard.errors import (
    InsufficientStorage,
    IntegrityError,
    InvalidRequest,
    ModelyardError,
    NotFound,
    Unavailable,
)
from modelyard.images.oci.documents import MAX_DOCUMENT
from modelyard.images.registry.credentials import Credentials
from modelyard.images.registry.reference import ImageName

ATTEMPTS = 6
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 30.0
_REDIRECTS = 5
_TIMEOUT = httpx2.Timeout(60.0, connect=10.0)
_TEMPORARY = frozenset({408, 429, 500, 502, 503, 504})
_CHALLENGE = re.compile(r'([a-zA-Z_]+)\s*=\s*"((?:[^"\\]|\\.)*)"')

Body = bytes | Callable[[], Iterator[bytes]]
Sleep = Callable[[float], None]


class Temporary(Exception):
    """Something failed that may succeed when it is done again."""

    def __init__(self, message: str, pause: float | None = None) -> None:
        super().__init__(message)
        self.pause = pause
        """Seconds that the registry asks to wait; None: it does not say."""


class Session:
    """Sends requests about one repository. One thread at a time.

    Args:
        image: Says which registry and repository.
        credentials: What is known for the registry.
        actions: What is to be allowed there: `pull`, or `pull,push`.
        transport: Stands for the network in tests.
        sleep: Waits that many seconds.
    """

    def __init__(
        self,
        image: ImageName,
        credentials: Credentials | None,
        actions: str = "pull",
        transport: httpx2.BaseTransport | None = None,
        sleep: Sleep = time.sleep,
    ) -> None:
        self.image = image
        self._credentials = credentials
        self._scope = f"repository:{image.path}:{actions}"
        self._authorization: str | None = None
        self._sleep = sleep
        self._http = httpx2.Client(
            headers={"Accept-Encoding": "identity", "User-Agent": "modelyard"},
            timeout=_TIMEOUT,
            trust_env=not image.is_local,
            verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if image.is_local else True,
            transport=transport,
        )

    def close(self) -> None:
        """Close the sockets."""
        self._http.close()

    def url(self, path: str) -> str:
        """Address of something in the repository."""
        return f"{self.image.url}/v2/{self.image.path}/{path}"

    def retrying(self, attempt: Callable[[], Any]) -> Any:
        """Do something that may be done twice, again while it fails for a time.

        Raises:
            Unavailable: It failed too often.
        """
        failures = 0
        while True:
            try:
                return attempt()
            except Temporary as problem:
                failures += 1
                self.pause(failures, problem)

    def pause(self, failures: int, problem: Temporary) -> None:
        """Wait before another attempt. Raises `Unavailable` after too many failures in a row."""
        if failures >= ATTEMPTS:
            raise Unavailable(
                f"{self.image.host} does not do its work: {problem}",
                hint="look whether that is the registry you mean (a name without one means "
                "docker.io) and whether it runs, and try again; what is there already is not sent "
                "again",
            )
        pause = _FIRST_PAUSE * 2**failures if problem.pause is None else problem.pause
        self._sleep(min(pause, _LONGEST_PAUSE))

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body = b"",
        accepted: tuple[int, ...] = (),
    ) -> httpx2.Response:
        """Send a request and read its answer, a short one.

        Args:
            accepted: Statuses that are answers although they are errors, such as 404.

        Raises:
            Temporary: It can be done again.
            ModelyardError: What the registry says is wrong.
        """
        with self.stream(method, url, headers=headers, body=body, accepted=accepted) as response:
            return _whole(response, self.image.host)

    @contextmanager
    def stream(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body = b"",
        accepted: tuple[int, ...] = (),
    ) -> Iterator[httpx2.Response]:
        """Send a request, and have its answer read piece by piece. Raises as `request` does."""
        try:
            response = self._authorized(method, url, dict(headers or {}), body)
            try:
                if not response.is_success and response.status_code not in accepted:
                    self._refuse(response)
                yield response
            finally:
                response.close()
        except httpx2.TransportError as error:
            raise Temporary(str(error) or type(error).__name__) from error

    def _authorized(
        self, method: str, url: str, headers: dict[str, str], body: Body
    ) -> httpx2.Response:
        response = self._follow(method, url, headers, body)
        if response.status_code != 401 or not self._is_ours(str(response.request.url)):
            return response
        challenge = response.headers.get("www-authenticate", "")
        response.close()
        self._authorization = self._answer(challenge)
        return self._follow(method, url, headers, body)

    def _follow(
        self, method: str, url: str, headers: dict[str, str], body: Body
    ) -> httpx2.Response:
        for _ in range(_REDIRECTS):
            response = self._send(method, url, headers, body)
            location = response.headers.get("location")
            if not response.is_redirect or location is None:
                return response
            response.close()
            if method not in ("GET", "HEAD"):
                break
            url = self.checked(location, url)
        raise IntegrityError(f"{self.image.host} redirects where it must not, or without end")

    def _send(self, method: str, url: str, headers: dict[str, str], body: Body) -> httpx2.Response:
        own = {"Authorization": self._authorization} if self._authorization else {}
        content = body if isinstance(body, bytes) else body()
        request = self._http.build_request(
            method, url, headers={**headers, **(own if self._is_ours(url) else {})}, content=content
        )
        return self._http.send(request, stream=True)

    def checked(self, named: str, at: str) -> str:
        """An address that the registry has named, if it may be asked.

        Args:
            named: As it came, perhaps relative.
            at: Address of the answer that it came in; empty: it must be whole.

        Raises:
            IntegrityError: It is none, or not safe: no TLS, or this machine on behalf of another.
        """
        try:
            _origin(urljoin(at, named))  # the one parser is strict where the other is not
            url = str(httpx2.URL(urljoin(at, named)))
            parts = urlsplit(url)
        except (ValueError, httpx2.InvalidURL) as error:
            raise IntegrityError(
                f"{self.image.host} leads to {named[:200]!r}, which is no address",
                hint="something else than an image registry may be answering there",
            ) from error
        here = self.image.is_local and is_loopback(parts.hostname or "")
        if (
            (parts.scheme == "https" or (parts.scheme == "http" and here))
            and parts.hostname
            and (here or not is_loopback(parts.hostname))
            and parts.username is None
        ):
            return url
        raise IntegrityError(
            f"{self.image.host} leads to {parts.scheme}://{parts.hostname}, which is not followed",
            hint="only https is, and plain http from this machine to itself",
        )

    def _is_ours(self, url: str) -> bool:
        """Whether an address is the registry's own, so that it may know who asks."""
        return _origin(url) == _origin(self.image.url)

    def _answer(self, challenge: str) -> str:
        """What to say to a challenge: a token that is asked for, or the credentials themselves."""
        scheme, _, rest = challenge.partition(" ")
        fields = {
            name.lower(): re.sub(r"\\(.)", r"\1", text) for name, text in _CHALLENGE.findall(rest)
        }
        if scheme.lower() == "bearer" and "realm" in fields:
            return f"Bearer {self._token(fields)}"
        if scheme.lower() != "basic" or self._credentials is None or self._authorization:
            raise self._forbidden()
        return self._credentials.basic

    def _token(self, fields: dict[str, str]) -> str:
        """A token from whoever the registry says gives them."""
        realm = self.checked(fields["realm"], "")
        asked = {"scope": self._scope}
        if "service" in fields:
            asked["service"] = fields["service"]
        known = self._credentials
        if known is not None and known.is_identity:
            form = {**asked, "grant_type": "refresh_token", "refresh_token": known.secret}
            request = self._http.build_request(
                "POST", realm, data={**form, "client_id": "modelyard"}
            )
        else:
            headers = {"Authorization": known.basic} if known is not None else {}
            request = self._http.build_request("GET", realm, params=asked, headers=headers)
        response = self._http.send(request, stream=True)
        try:
            if response.status_code in _TEMPORARY:
                raise _temporary(response)
            if not response.is_success:
                raise self._forbidden()
            return _token_in(_whole(response, realm), self.image.host)
        finally:
            response.close()

    def _refuse(self, response: httpx2.Response) -> None:
        status = response.status_code
        if status in _TEMPORARY:
            raise _temporary(response)
        said = _said(response)
        if status in (401, 403):
            raise self._forbidden(said)
        if status == 404:
            raise NotFound(
                f"{self.image} is not in its registry{said}",
                hint="check the name, the tag, and whether you may see it: some registries say "
                "this to strangers",
            )
        if status in (413, 507):
            raise InsufficientStorage(f"{self.image.host} has no room for this{said}")
        raise ModelyardError(f"{self.image.host} answered with status {status}{said}")

    def _forbidden(self, said: str = "") -> InvalidRequest:
        who = "nobody in particular" if self._credentials is None else f"`{self._credentials.user}`"
        return InvalidRequest(
            f"{self.image.host} does not let {who} do this to {self.image.path}{said}",
            hint=f"`docker login {self.image.host}` or `podman login {self.image.host}`, as the "
            "user whom the server runs as",
        )


def _whole(response: httpx2.Response, where: str) -> httpx2.Response:
    """The answer with its body, a short one, as it came: nothing is decompressed."""
    body = bytearray()
    for chunk in response.iter_raw():
        body += chunk
        if len(body) > MAX_DOCUMENT:
            raise IntegrityError(f"{where} answered with more than {MAX_DOCUMENT} bytes")
    headers = {
        name: text
        for name, text in response.headers.items()
        if name not in ("content-encoding", "transfer-encoding")
    }
    return httpx2.Response(
        response.status_code, headers=headers, content=bytes(body), request=response.request
    )


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    default = {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, parts.hostname, parts.port or default


def _temporary(response: httpx2.Response) -> Temporary:
    wait = response.headers.get("retry-after", "")
    pause = float(wait) if re.fullmatch(r"[0-9]{1,6}", wait) else None
    return Temporary(f"status {response.status_code}", pause)


def _said(response: httpx2.Response) -> str:
    """The registry's own reason, harmless to show."""
    try:
        body = b"".join(part for part, _ in zip(response.iter_raw(4096), range(4), strict=False))
        errors = httpx2.Response(200, content=body).json()["errors"]
        text = str(errors[0].get("message") or errors[0].get("code") or "")
    except (ValueError, LookupError, TypeError, AttributeError, httpx2.TransportError):
        return ""
    shown = "".join(c if c.isprintable() else "?" for c in text[:200])
    return f": {shown}" if shown else ""


def _token_in(response: httpx2.Response, host: str) -> str:
    try:
        body = response.json()
        token = body.get("token") or body.get("access_token")
    except (ValueError, AttributeError):
        token = None
    if not isinstance(token, str) or not re.fullmatch(r"[\x21-\x7e]{1,20000}", token):
        raise IntegrityError(f"the token server of {host} gave no token")
    return token
