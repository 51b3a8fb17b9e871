"""Identifiers of requests: those that a client sends are kept, others are made, both are echoed."""

from __future__ import annotations

import os
from itertools import count

from modelyard_runtime.capture.wanted import FIELD, PREDICTION
from modelyard_runtime.http.encoding import encode_fields
from modelyard_runtime.http.messages import Headers

Fields = list[tuple[bytes, bytes]]

_LONGEST = 100
_NAMES = frozenset(
    {
        *(b"x-request-id", b"x-ms-request-id", b"x-ms-client-request-id", b"traceid"),
        *(FIELD, PREDICTION),
    }
)
_TOO_LONG = f"x-request-id must not exceed {_LONGEST} characters"
_CLIENTS_TOO_LONG = (
    f"x-ms-request-id and x-ms-client-request-id must not exceed {_LONGEST} characters"
)


class Identity:
    """The identifying fields of an answer, as far as the headers of the request tell them.

    Raises:
        ValueError: One of them holds a line break.
    """

    __slots__ = (
        "_aliased",
        "_fresh",
        "_lines",
        "capture",
        "prediction",
        "refusal",
        "request_id",
    )

    def __init__(self, headers: Headers) -> None:
        found = {name: value for name, value in headers if name in _NAMES}
        request_id = found.get(b"x-request-id")
        client = found.get(b"x-ms-client-request-id")
        legacy = found.get(b"x-ms-request-id")
        self._lines = b""
        self.request_id = request_id or b""
        """As it came; empty: one is made for each answer."""
        self.capture = found.get(FIELD)
        """How the gateway wants the request recorded; None: it does not."""
        self.prediction = found.get(PREDICTION)
        """The id of its answer, if it is not that of the request."""
        self.refusal = ""
        """Why the request is answered with 431; an id that is too long is not echoed."""
        if len(request_id or b"") > _LONGEST:
            self.refusal = _TOO_LONG
            self._fresh = self._aliased = False
            return
        self._fresh = not request_id
        if max(len(client or b""), len(legacy or b"")) > _LONGEST:
            self.refusal = _CLIENTS_TOO_LONG
            self._aliased = False
            self._lines = encode_fields([(b"x-request-id", request_id)] if request_id else [])
            return
        self._aliased = not (legacy or client)
        self._lines = encode_fields(_known(request_id, client, legacy, found.get(b"traceid")))

    @property
    def prediction_id(self) -> bytes:
        """The id of the answer, where a gateway has given one."""
        return self.prediction or self.request_id

    def lines(self, ids: Ids) -> bytes:
        """Its fields as they are written, the first of them `x-request-id`."""
        lines = self._lines
        if not self._fresh:
            return lines
        new = ids.new()
        if self._aliased:
            return b"x-request-id: %b\r\nx-ms-request-id: %b\r\n%b" % (new, new, lines)
        return b"x-request-id: %b\r\n%b" % (new, lines)


class Ids:
    """Identifiers for requests that bring none: random for this process, then counted.

    They have the form of a UUID, version 4. The class in the standard library takes a system call
    and ten times as long for each.
    """

    def __init__(self) -> None:
        digits = os.urandom(16).hex()
        variant = "89ab"[int(digits[16], 16) & 3]
        start = f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-"
        self._start = start.encode()
        self._numbers = count(int(digits[20:], 16))  # safe to share between threads

    def new(self) -> bytes:
        """An identifier that no other request has."""
        return b"%b%012x" % (self._start, next(self._numbers) & 0xFFFFFFFFFFFF)


def _known(
    request_id: bytes | None, client: bytes | None, legacy: bytes | None, trace: bytes | None
) -> Fields:
    fields = []
    if request_id:
        fields.append((b"x-request-id", request_id))
    alias = legacy or client or request_id
    if alias:
        fields.append((b"x-ms-request-id", alias))
    if client or legacy:
        fields.append((b"x-ms-client-request-id", client or legacy or b""))
    if trace is not None:
        fields.append((b"traceid", trace))
    return fields
