"""What is recorded: requests, what scripts collect, what turned out true; as MessagePack arrays."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from modelyard_runtime.capture.rules import Rules, Unreadable

FORMAT = 1
"""Version of the records; the first one of a segment tells it."""

LARGEST_BODY = 1 << 20
"""Bytes of an input or an output that are kept; of a longer one only its size is."""

Moment = Annotated[int, Meta(ge=0, lt=4_000_000_000_000_000)]
Size = Annotated[int, Meta(ge=0, lt=1 << 62)]
Text = Annotated[str, Meta(max_length=16_384)]


class About(msgspec.Struct, array_like=True, frozen=True, tag=0):
    """The first record of a segment."""

    format: int
    writer: str
    """Who wrote it: `gateway`, or `worker-` and the number of a worker."""


class Answered(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=1):
    """One request that was answered, whatever the answer was. Only new fields at the end."""

    at: Moment
    """Microseconds since 1970, when the answer was there."""
    prediction: Text
    """The id of this answer: unique."""
    request: Text
    """The id that the caller gave, or the same as `prediction`."""
    key: Text
    """Public part of the caller's key; empty: there was none."""
    deployment: Text
    """Which deployment answered; empty where the folder of the segment says it, or none did."""
    replica: Text
    status: Annotated[int, Meta(ge=0, le=999)]
    seconds: float
    """From a whole request to its answer."""
    path: Text
    code: Text
    """The gateway's own word for a failure, such as `replica_lost`; empty for a replica's answer.
    """
    input: bytes | None
    """The body; None: there was none, or it was too long, or it was not kept."""
    input_type: Text
    input_size: Size
    """Bytes of the whole body."""
    output: bytes | None
    output_type: Text
    output_size: Size
    withheld: Text = ""
    """Bodies that are left out because a rule cannot be applied: `inputs`, `outputs`, or both with
    a comma between them."""
    attempt: Annotated[int, Meta(ge=1, le=99)] = 1
    """How often the request had been sent to a worker: the record of a later one counts."""

    def under(self, rules: Rules | None) -> Answered:
        """As it may be written."""
        if rules is None:
            return self
        bodies: dict[str, bytes | None] = {}
        withheld = []
        for name, body in (("input", self.input), ("output", self.output)):
            try:
                bodies[name] = body and rules.body(body, is_input=name == "input")
            except Unreadable:
                bodies[name] = None
                withheld.append(f"{name}s")
        return msgspec.structs.replace(self, **bodies, withheld=",".join(withheld))


class Collected(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=2):
    """Rows that a script has collected."""

    at: Moment
    prediction: Text
    """The request in which it did; empty: in none, as in `init()`."""
    name: Text
    """What the rows are, such as `inputs`."""
    rows: bytes
    """A JSON list of objects."""


class Told(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=3):
    """What turned out to be true of one row, told after its answer."""

    at: Moment
    """When it was told."""
    prediction: Text
    """The answer that it is about, whether or not that is known."""
    row: Annotated[int, Meta(ge=0, lt=1 << 31)]
    """Of the request, from 0."""
    truth: bytes
    """JSON."""
    key: Text
    """Public part of the key of who told it; empty: there was none."""


Record = About | Answered | Collected | Told

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Record] = msgspec.msgpack.Decoder(
    About | Answered | Collected | Told
)

encode = _encoder.encode


def decode(payload: bytes) -> Record:
    """Read one record.

    Raises:
        ValueError: It is none.
    """
    try:
        return _decoder.decode(payload)
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from error
