"""Sends data to a service and gives back its answer, as any caller of the service would."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from modelyard.client.connection import is_loopback, tls
from modelyard.domain.service import Authentication, Service
from modelyard.errors import InvalidRequest, ScoringFailed, Unavailable

_MARGIN = 10.0
"""Seconds beyond the service's own limits, so that its answer and not ours names a timeout."""

_NO_FEEDBACK = (413, 415, 422)


@dataclass(frozen=True, slots=True)
class Scored:
    """An answer of a service, and its name."""

    answer: Any
    """JSON parsed, text as `str`, anything else as `bytes`."""
    prediction_id: str | None
    """What records and feedback know the answer by."""


class Scorer:
    """Talks to gateways, which never see the token of the server.

    Args:
        authority: PEM of an authority to trust beside the usual ones, or None; asked once, where
            there is TLS.
        transport: Replaced in tests.
    """

    def __init__(
        self, authority: Callable[[], str | None], transport: httpx2.BaseTransport | None = None
    ) -> None:
        self._authority = authority
        self._transport = transport
        self._clients: dict[tuple[object, ...], httpx2.Client] = {}
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the sockets."""
        for client in self._clients.values():
            client.close()

    def score(
        self, service: Service, key: str | None, data: Any, certificate: Path | None = None
    ) -> Scored:
        """POST `data` to the service and return what it answers.

        Args:
            service: Where to send it.
            key: A key of the service, or None when it asks for none.
            data: Bytes are sent as they are, everything else as JSON.
            certificate: PEM file with a client certificate and its key.

        Raises:
            InvalidRequest: The certificate cannot be used, or is needed and not there.
            Unavailable: The service has no address yet, or nothing listens there.
            ScoringFailed: The service answered with an error; `details["status"]` is its status.
        """
        response = self._post(
            service, _uri(service), key, _content(data), _content_type(data), certificate
        )
        if response.is_error:
            raise _failure(service, response)
        return Scored(_answer(response), response.headers.get("x-prediction-id"))

    def tell(
        self, service: Service, key: str | None, body: bytes, certificate: Path | None = None
    ) -> int:
        """Send feedback to the service, and return how many truths were stored.

        Args:
            service: Where to send it.
            key: As in `score`.
            body: JSON, as `/feedback` takes it.
            certificate: As in `score`.

        Raises:
            InvalidRequest: The body is no feedback; or as in `score`.
            Unavailable: There is no room for it; or as in `score`.
            ScoringFailed: The service answered with another error.
        """
        uri = f"{_uri(service).removesuffix('/score')}/feedback"
        response = self._post(service, uri, key, body, "application/json", certificate)
        if not response.is_error:
            return int(response.json()["stored"])
        failure = _failure(service, response)
        if response.status_code in _NO_FEEDBACK:
            raise InvalidRequest(failure.message, hint="nothing of it was stored")
        if response.status_code == httpx2.codes.SERVICE_UNAVAILABLE:
            raise Unavailable(
                failure.message, hint="nothing of it was stored: try again", details=failure.details
            )
        raise failure

    def _post(
        self,
        service: Service,
        uri: str,
        key: str | None,
        content: bytes,
        kind: str,
        certificate: Path | None,
    ) -> httpx2.Response:
        if service.settings.auth is Authentication.CERT and certificate is None:
            raise InvalidRequest(
                f"service `{service.name}` needs a client certificate",
                hint="give the file of one; "
                f"`modelyard service certificates issue {service.name} CLIENT` makes one",
            )
        headers = {"Content-Type": kind}
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        settings = service.settings
        limit = settings.scoring_timeout + settings.max_queue_wait + _MARGIN
        try:
            return self._client(uri, certificate).post(
                uri,
                content=content,
                headers=headers,
                timeout=httpx2.Timeout(limit, connect=5.0),
            )
        except httpx2.TransportError as error:
            raise Unavailable(
                f"service `{service.name}` does not answer at {uri}: {error}",
                hint=f"`modelyard why {service.name}` tells the reason",
            ) from error

    def _client(self, uri: str, certificate: Path | None) -> httpx2.Client:
        local, secure = is_loopback(uri), uri.startswith("https:")
        wanted = (local, secure, certificate and (certificate, _version(certificate)))
        with self._lock:  # threads may share an SDK client: a second one would never be closed
            if wanted not in self._clients:
                own = self._authority() if secure else None
                verify = tls(uri, own)
                if certificate is not None:
                    verify = _showing(certificate, verify)
                self._clients[wanted] = httpx2.Client(
                    trust_env=not local, verify=verify, transport=self._transport
                )
            return self._clients[wanted]


def _version(certificate: Path) -> int:
    """Another one when the file is another one."""
    try:
        return certificate.stat().st_mtime_ns
    except OSError as error:
        raise _unusable(certificate, error.strerror or str(error)) from error


def _showing(certificate: Path, verify: ssl.SSLContext | bool) -> ssl.SSLContext:
    """The way to verify a server, with a certificate to show to it."""
    context = verify if isinstance(verify, ssl.SSLContext) else httpx2.create_ssl_context()
    try:
        context.load_cert_chain(certificate, password="")
    except OSError as error:  # an SSLError is one, too
        reason = "it does not hold a certificate and its key without a passphrase"
        raise _unusable(
            certificate, reason if isinstance(error, ssl.SSLError) else str(error.strerror)
        ) from error
    return context


def _unusable(certificate: Path, reason: str) -> InvalidRequest:
    return InvalidRequest(
        f"the client certificate `{certificate}` cannot be used: {reason}",
        hint="give a PEM file with both, as `modelyard service certificates issue` writes it",
    )


def _uri(service: Service) -> str:
    if service.scoring_uri is None:
        raise Unavailable(
            f"service `{service.name}` has no address yet",
            hint=f"`modelyard why {service.name}` tells what it waits for",
        )
    return service.scoring_uri


def _content_type(data: Any) -> str:
    return "application/octet-stream" if isinstance(data, bytes) else "application/json"


def _content(data: Any) -> bytes:
    return data if isinstance(data, bytes) else json.dumps(data).encode()


def _answer(response: httpx2.Response) -> Any:
    """JSON parsed, text as text, anything else as bytes."""
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json" or kind.endswith("+json"):
        return response.json()
    return response.text if kind.startswith("text/") else response.content


def _failure(service: Service, response: httpx2.Response) -> ScoringFailed:
    try:
        body = response.json()
        message = body["message"] if isinstance(body, dict) and "message" in body else body
    except ValueError:
        message = response.text
    return ScoringFailed(
        f"service `{service.name}` answered {response.status_code}: {str(message)[:2000]}",
        hint=_hint(service, response.status_code),
        details={"status": response.status_code},
    )


def _hint(service: Service, status: int) -> str:
    """Where to look: at the log for a failure of the service, else at what it needs or takes."""
    if status in (httpx2.codes.UNAUTHORIZED, httpx2.codes.FORBIDDEN):
        return f"`modelyard why {service.name}` tells what its callers need"
    if status < httpx2.codes.INTERNAL_SERVER_ERROR:
        return f"{service.swagger_uri} describes what the service takes"
    return f"`modelyard service logs {service.name}` shows what it wrote"
