"""Records calls as they are answered, where the gateway asks for that. See `capture`."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from modelyard_runtime.capture.collecting import sink
from modelyard_runtime.capture.records import LARGEST_BODY, Answered, encode
from modelyard_runtime.capture.segments import head_of
from modelyard_runtime.capture.spool import REFUSE, Bounds, Spool
from modelyard_runtime.capture.wanted import SEEN_TO, Wanted, parse
from modelyard_runtime.http.encoding import encode_fields
from modelyard_runtime.http.messages import Request, Response
from modelyard_runtime.scoring import Call

_SEEN_TO = encode_fields((SEEN_TO,))
_LONGEST = 200
"""Characters of what a caller chose that are recorded."""
_NO_ROOM = "The answer cannot be recorded now, and is to be given only when it is; try again."
_JSON = "application/json"


class Recorder:
    """What one worker records. It is used in the thread of the worker's event loop only.

    Args:
        folder: Where records go.
        writer: Who this is: part of the file names.
    """

    def __init__(self, folder: Path, writer: str) -> None:
        self._folder = folder
        self._writer = writer
        self._spool: Spool | None = None
        self._is_broken = False
        sink.folder, sink.writer = folder, f"{writer}-script"

    def record(self, call: Call, response: Response, took: float) -> None:
        """Record a call before its answer is sent, if that is asked for, and say so in it.

        Args:
            call: The call.
            response: Its answer.
            took: Seconds from the whole request until now.
        """
        if call.memo.identity.capture is not None:
            self.record_all([call], [response], [took])

    def record_all(
        self, calls: Sequence[Call], responses: Sequence[Response], took: Sequence[float]
    ) -> None:
        """As `record`, for several calls, with one write for all."""
        if not self._can_record():
            return
        wanted = value = None
        parts: list[bytes] = []
        now = time.time_ns() // 1000
        for call, response, seconds in zip(calls, responses, took, strict=True):
            told = call.memo.identity.capture
            if told is not value:  # the same for many
                value = told
                wanted = None if told is None else parse(told)
            if wanted is None or wanted.is_collected_only:
                continue
            record = _answered(call, response, seconds, now, wanted)
            payload = encode(record if wanted.rules is None else record.under(wanted.rules))
            parts += head_of(payload), payload
            if response.encoded:
                response.encoded += _SEEN_TO
            else:
                response.headers.append(SEEN_TO)
            bounds = wanted.bounds
        if parts and self._spool is not None:
            self._spool.bounds = bounds
            if not self._spool.add_encoded(b"".join(parts), len(parts) // 2):
                _refuse(calls, responses, bounds)

    def tick(self) -> None:
        """Close what is due; to be called twice a second or so."""
        sink.tick()
        if self._spool is not None:
            self._spool.tick()

    def close(self) -> None:
        """Let the agent have everything."""
        sink.tick(close=True)
        if self._spool is not None:
            self._spool.close()

    def _can_record(self) -> bool:
        """Whether there is a spool; without one the gateway records."""
        if self._spool is None and not self._is_broken:
            try:
                self._spool = Spool(self._folder, self._writer)
            except OSError as error:
                self._is_broken = True
                sys.stderr.write(f"modelyard: requests cannot be recorded here: {error}\n")
        return self._spool is not None


def _refuse(calls: Sequence[Call], responses: Sequence[Response], bounds: Bounds) -> None:
    """Where nothing may go unrecorded, put a refusal in the place of each whole answer."""
    if bounds.when_full != REFUSE:
        return
    for call, response in zip(calls, responses, strict=True):
        wanted = parse(call.memo.identity.capture or b"")
        if call.parts is None and wanted is not None and not wanted.is_collected_only:
            refusal = call.refuse(503, _NO_ROOM, SEEN_TO)
            response.status, response.body = refusal.status, refusal.body
            response.headers, response.encoded = refusal.headers, refusal.encoded


def _answered(call: Call, response: Response, seconds: float, now: int, wanted: Wanted) -> Answered:
    request, identity = call.request, call.memo.identity
    name = identity.request_id[:_LONGEST].decode("latin-1")
    prediction = identity.prediction
    output = response.body if type(response.body) is bytes else None
    body, size = _body(request)
    return Answered(
        now,
        name if prediction is None else prediction.decode("latin-1"),
        name,
        wanted.key,
        "",
        "",
        response.status,
        seconds,
        request.head.path[:_LONGEST],
        "",
        body,
        _type_of(request.head.headers.pairs),
        size,
        output if output and len(output) <= LARGEST_BODY else None,
        _type_of(response.headers) or _JSON,
        len(output) if output else 0,
        "",
        wanted.attempt,
    )


def _body(request: Request) -> tuple[bytes | None, int]:
    # A view is encoded as it is, without a copy.
    body = request.body if type(request) is Request else cast(bytes, request.view)
    size = len(body)
    return body if size <= LARGEST_BODY else None, size


def _type_of(fields: Sequence[tuple[bytes, bytes]]) -> str:
    for name, value in fields:
        if name == b"content-type":
            return value[:_LONGEST].decode("latin-1")
    return ""
