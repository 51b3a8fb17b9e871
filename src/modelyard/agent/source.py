"""The agent's own small protocol: desired state, reports, logs and blobs, over HTTP to a server.

Used by the agent's threads; one object may be used by all of them. Nothing else in `agent/` knows
that there is HTTP behind it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import httpx2
from pydantic import BaseModel, TypeAdapter, ValidationError

from modelyard.domain.captured import Segment
from modelyard.domain.desired import DesiredState
from modelyard.domain.observed import ObservedState
from modelyard.domain.telemetry import HostFigures, Minute
from modelyard.errors import IntegrityError, ServerUnreachable, from_wire
from modelyard.pinning import Pin
from modelyard.schemas import CaptureReceipt, CaptureReport, LogReceipt, LogSegment

Body = TypeVar("Body", bound=BaseModel)

_MINUTES = TypeAdapter(list[Minute])
_CONNECT = 5.0  # seconds
_ANSWER = 30.0  # seconds between two pieces of an answer
_PIECE = 1 << 20
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class Tagged(NamedTuple):
    """A desired state and the tag that asks for what comes after it."""

    state: DesiredState
    tag: str


class ServerSource:
    """A server, as its agent sees it.

    Every method raises `ServerUnreachable` when no server answers, and whatever error of
    `modelyard.errors` the server answers with.
    """

    def __init__(
        self,
        url: str,
        agent: str,
        token: str,
        transport: httpx2.BaseTransport | None = None,
        certificate: Path | None = None,
    ) -> None:
        pin = Pin(certificate) if certificate else None
        self._agent = f"/api/v1/agents/{agent}"
        self._client = httpx2.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=httpx2.Timeout(_ANSWER, connect=_CONNECT),
            # A proxy meant for the network must not see, or lose, what stays on this host.
            trust_env=urlsplit(url).hostname not in _LOOPBACK,
            transport=transport,
            verify=pin.context if pin else True,
            event_hooks={"request": [pin.follow]} if pin else None,
        )

    def desired(self, tag: str | None, wait: float) -> Tagged | None:
        """What to do; None when it is still what `tag` stands for after `wait` seconds."""
        response = self._send(
            "GET",
            f"{self._agent}/desired",
            params={"wait": wait},
            headers={"If-None-Match": tag} if tag else {},
            timeout=httpx2.Timeout(_ANSWER + wait, connect=_CONNECT),
        )
        if response.status_code == httpx2.codes.NOT_MODIFIED:
            return None
        state = _parse(response, DesiredState)
        return Tagged(state, response.headers.get("ETag", f'"{state.fence}.{state.generation}"'))

    def publish(self, observed: ObservedState) -> None:
        """Report what is seen, whole."""
        self._send("PUT", f"{self._agent}/observed", content=observed.model_dump_json())

    def send_log(self, segment: LogSegment) -> LogReceipt:
        """Send one piece of a replica's log; a piece sent twice is kept once."""
        response = self._send("POST", f"{self._agent}/logs", content=segment.model_dump_json())
        return _parse(response, LogReceipt)

    def send_figures(self, figures: HostFigures) -> None:
        """Tell what has been counted on this host until now."""
        self._send("PUT", f"{self._agent}/figures", content=figures.model_dump_json())

    def send_minutes(self, minutes: Sequence[Minute]) -> None:
        """Send minutes of figures; one sent twice is kept once."""
        self._send("POST", f"{self._agent}/minutes", content=_MINUTES.dump_json(list(minutes)))

    def send_captured(
        self, epoch: int, sequence: int, segment: Segment, path: Path
    ) -> CaptureReceipt:
        """Send a file of captured records; a file sent twice is kept once."""
        with path.open("rb") as file:
            response = self._send(
                "PUT",
                f"{self._agent}/captured/{epoch}/{sequence}",
                content=iter(partial(file.read, _PIECE), b""),
                headers={
                    "Content-Type": "application/vnd.apache.parquet",
                    "Modelyard-Segment": segment.model_dump_json(),
                },
            )
        return _parse(response, CaptureReceipt)

    def report_captured(self, report: CaptureReport) -> None:
        """Tell what became of requests."""
        self._send("PUT", f"{self._agent}/captured/report", content=report.model_dump_json())

    def blob(self, digest: str, start: int) -> Iterator[bytes]:
        """The bytes of a blob from `start` on, in pieces."""
        headers = {"Range": f"bytes={start}-", "Accept-Encoding": "identity"}
        request = self._client.build_request("GET", f"/api/v1/blobs/{digest}", headers=headers)
        try:
            response = self._client.send(request, stream=True)
        except httpx2.TransportError as error:
            raise _unreachable(request, error) from error
        try:
            if not response.is_success:
                response.read()
                raise _refusal(response)
            if start and response.status_code != httpx2.codes.PARTIAL_CONTENT:
                raise IntegrityError(f"the server ignored the range asked of blob {digest}")
            yield from response.iter_raw()
        except httpx2.TransportError as error:
            raise _unreachable(request, error) from error
        finally:
            response.close()

    def close(self) -> None:
        """End all connections; what waits for an answer fails."""
        self._client.close()

    def _send(self, method: str, path: str, **options: Any) -> httpx2.Response:
        headers = {"Content-Type": "application/json", **options.pop("headers", {})}
        request = self._client.build_request(method, path, headers=headers, **options)
        try:
            response = self._client.send(request)
        except httpx2.TransportError as error:
            raise _unreachable(request, error) from error
        if response.is_error:
            raise _refusal(response)
        return response


def _parse(response: httpx2.Response, kind: type[Body]) -> Body:
    try:
        return kind.model_validate_json(response.content)
    except ValidationError as error:
        raise IntegrityError(
            f"the server's answer is not a {kind.__name__}: {error.errors()[0]['msg']}",
            hint="server and agent may be of different versions: upgrade the older one",
        ) from error


def _refusal(response: httpx2.Response) -> Exception:
    try:
        body = response.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        body = {"code": "unavailable", "message": f"HTTP status {response.status_code}"}
    return from_wire(body)


def _unreachable(request: httpx2.Request, error: Exception) -> ServerUnreachable:
    return ServerUnreachable(
        f"no answer from {request.url.scheme}://{request.url.netloc.decode()}: {error}",
        hint="the agent tries again by itself; what runs goes on running",
    )
