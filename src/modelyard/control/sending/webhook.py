"""Webhooks: signed JSON, POSTed to an address that was looked at before. No redirects, no proxies.

The signature is that of Standard Webhooks, so receivers in most languages have a library for it.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from urllib.parse import SplitResult, urlsplit

from modelyard import __version__
from modelyard.control.sending.addresses import Resolve, allowed, reachable, refusal, resolve
from modelyard.control.sending.base import PATIENCE, RESTART, NotSent
from modelyard.domain.alert import AlertMessage
from modelyard.domain.channel import webhook_key, webhook_signature
from modelyard.errors import InvalidRequest
from modelyard.store.alerts import Route

_STEP = 5.0
"""Seconds that one connection, one write or one read may take."""
_CONNECTING = 10.0
"""Seconds that all attempts to connect may take: a name may have hundreds of addresses."""


class Webhooks:
    """POSTs messages.

    Args:
        master: What the keys of channels are derived from.
        private: Hosts that may have private addresses, and be reached without TLS.
        ask: Looks names up.
        context: What certificates are checked with; unset: the authorities of the system.
        clock: Seconds since 1970.
    """

    def __init__(
        self,
        master: bytes,
        private: Collection[str],
        ask: Resolve = resolve,
        context: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._master = master
        self._private = private
        self._ask = ask
        self._context = context
        self._clock = clock

    def send(self, route: Route, message: AlertMessage) -> None:
        """POST it; every status of 2xx means that it has arrived."""
        body = message.model_dump_json().encode()
        key, now = webhook_key(self._master, route.key_id), int(self._clock())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"Modelyard/{__version__}",
            "Webhook-Id": str(message.id),
            "Webhook-Timestamp": str(now),
            "Webhook-Signature": webhook_signature(key, str(message.id), now, body),
            "Connection": "close",
        }
        try:
            status = self._post(read_url(route.address, self._private), body, headers)
        except InvalidRequest as error:  # it was allowed when the channel was made
            raise NotSent(error.message) from None
        except ssl.SSLCertVerificationError as error:
            raise NotSent(f"its certificate is not valid: {error.verify_message}") from None
        except TimeoutError:
            raise NotSent("it did not answer in time") from None
        except (OSError, HTTPException) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise NotSent(f"it cannot be reached: {reason}") from None
        if 300 <= status < 400:
            raise NotSent(f"it answered with {status}, and redirects are not followed")
        if not 200 <= status < 300:
            raise NotSent(f"it answered with {status}")

    def _post(self, url: SplitResult, body: bytes, headers: dict[str, str]) -> int:
        host, port = url.hostname or "", url.port or _PORTS[url.scheme]
        addresses = reachable(host, port, self._private, self._ask)
        context = (self._context or ssl.create_default_context()) if url.scheme == "https" else None
        connection = _Connection(host, port, addresses, context)
        with _ends_in_time(connection):
            path = (url.path or "/") + (f"?{url.query}" if url.query else "")
            connection.request("POST", path, body, headers)
            return connection.getresponse().status  # what else it says is read by nobody


_PORTS = {"https": 443, "http": 80}


def read_url(text: str, private: Collection[str]) -> SplitResult:
    """The parts of a webhook's URL.

    Raises:
        InvalidRequest: It is none, or it is of a host that is not allowed so.
    """
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        raise _no_url() from None
    if not url.hostname or url.scheme not in _PORTS or port == 0:
        raise _no_url()
    if url.username is not None or url.fragment:
        raise _no_url("it has no user name and no fragment")
    if url.scheme != "https" and not allowed(url.hostname, private):
        raise InvalidRequest(
            "a webhook's URL begins with `https://`: anybody on the way could read messages that "
            "go over `http://`",
            hint=f"the server's setting MODELYARD_ALERT_ALLOW_PRIVATE={url.hostname} allows this "
            f"host without TLS; {RESTART}",
        )
    why = refusal(url.hostname, private)
    if why:
        raise InvalidRequest(why, hint=RESTART)
    return url


def shown(text: str) -> str:
    """A URL without what may be secret."""
    url = urlsplit(text)
    return f"{url.scheme}://{url.netloc}/…"


def _no_url(why: str = "") -> InvalidRequest:
    return InvalidRequest(
        "this is not the URL of a webhook" + (f": {why}" if why else ""),
        hint="write `https://host/path`",
    )


class _Connection(HTTPConnection):
    """Goes to addresses that were looked at, whatever the name means by now."""

    def __init__(
        self, host: str, port: int, addresses: tuple[str, ...], context: ssl.SSLContext | None
    ) -> None:
        super().__init__(host, port, timeout=_STEP)
        self.default_port = 443 if context else 80  # so that the Host field has it only if need be
        self._addresses = addresses
        self._tls = context

    def connect(self) -> None:
        """Connect to the first address that answers."""
        until = time.monotonic() + _CONNECTING
        for number, address in enumerate(self._addresses, 1):
            left = until - time.monotonic()
            if left <= 0:
                raise TimeoutError
            try:
                self.sock = socket.create_connection((address, self.port), min(_STEP, left))
                self.sock.settimeout(_STEP)
                break
            except OSError:
                if number == len(self._addresses):
                    raise
        if self._tls is not None:
            self.sock = self._tls.wrap_socket(self.sock, server_hostname=self.host)


@contextmanager
def _ends_in_time(connection: HTTPConnection) -> Iterator[None]:
    """However slowly the other side speaks, this ends: its socket is shut down."""
    late = threading.Event()

    def shut_down() -> None:
        late.set()
        with suppress(OSError, AttributeError):
            connection.sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(PATIENCE, shut_down)
    timer.daemon = True
    timer.start()
    try:
        yield
    except (OSError, HTTPException):
        if late.is_set():
            raise TimeoutError from None
        raise
    finally:
        timer.cancel()
        connection.close()
