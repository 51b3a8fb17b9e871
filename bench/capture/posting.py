"""Clients that post unique numbers, and remember which of them were answered with success."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

CLIENTS = 8
_PATIENCE = 60.0
_HEADER = "x-prediction-id"


class Posting:
    """Threads with a connection each; what fails is not sent again.

    Args:
        uri: Where to.
        headers: Of each request.
        body: The body with a number.
        rate: Requests per second, of all.
    """

    def __init__(
        self, uri: str, headers: dict[str, str], body: Callable[[int], bytes], rate: float
    ) -> None:
        self._place = urlsplit(uri)
        self._headers = {"Content-Type": "application/json", **headers}
        self._body = body
        self._pause = CLIENTS / rate
        self.tried = self.failed = 0
        self.acknowledged: dict[int, str] = {}
        """Numbers of the requests that were answered with 200; the id of the answer, if told."""
        self._lock = threading.Lock()
        self._over = threading.Event()

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """They ask until the end of the context, and wait for their last answers."""
        threads = [threading.Thread(target=self._post, daemon=True) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in threads:
                thread.join(2 * _PATIENCE)

    def until(self, count: int) -> None:
        """Wait until so many were answered.

        Raises:
            RuntimeError: Nothing is answered any more.
        """
        seen, at = -1, time.monotonic()
        while len(self.acknowledged) < count:
            if len(self.acknowledged) != seen:
                seen, at = len(self.acknowledged), time.monotonic()
            elif time.monotonic() > at + _PATIENCE:
                raise RuntimeError(f"nothing is answered after {seen} answers")
            time.sleep(0.01)

    def _post(self) -> None:
        connection: http.client.HTTPConnection | None = None
        while not self._over.wait(self._pause):
            with self._lock:
                self.tried += 1
                number = self.tried
            try:
                if connection is None:
                    host, port = self._place.hostname or "", self._place.port
                    connection = http.client.HTTPConnection(host, port, timeout=_PATIENCE)
                connection.request("POST", self._place.path, self._body(number), self._headers)
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException):
                connection = None
                self._note(number, None)
                continue
            self._note(number, answer if answer.status == 200 else None)

    def _note(self, number: int, answer: http.client.HTTPResponse | None) -> None:
        with self._lock:
            if answer is None:
                self.failed += 1
            else:
                self.acknowledged[number] = answer.headers.get(_HEADER, "")


def numbered(number: int) -> bytes:
    """A body for the product of the gateway's bench."""
    return json.dumps({"seconds": 0, "number": number}).encode()
