"""What every domain type is made of: the base class, names, references, digests, units.

Text that reaches a file name, a URL, a log line or a query is matched against a grammar here, once.
"""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, NamedTuple

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)

from modelyard.errors import InvalidRequest


class Value(BaseModel):
    """A fact read from the platform: immutable; fields of a newer server are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)


class Spec(BaseModel):
    """A wish written by a user: immutable; an unknown field is an error, so typing slips show."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,127}$"
SERVICE_NAME_PATTERN = r"^[a-z][a-z0-9-]{1,30}[a-z0-9]$"
DIGEST_PATTERN = r"^sha256:[0-9a-f]{64}$"

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
"""Name of a model or an image: lower-case letters, digits, `.`, `_`, `-`; 128 at most."""

ServiceName = Annotated[str, StringConstraints(pattern=SERVICE_NAME_PATTERN)]
"""Name of a service: lower-case letters, digits, dashes; starts with a letter; 3 to 32 long."""

Digest = Annotated[str, StringConstraints(pattern=DIGEST_PATTERN)]
"""`sha256:` and 64 hexadecimal digits."""


def digest_of(content: bytes) -> str:
    """The digest of bytes at hand."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("only printable characters are allowed")
    return text


LabelKey = Annotated[
    str,
    StringConstraints(min_length=1, max_length=128, pattern=r"^[^=,\s][^=,]*$"),
    AfterValidator(_printable),
]
"""Key of a tag or a property: printable, without `=` and `,`."""

LabelValue = Annotated[str, StringConstraints(max_length=1024), AfterValidator(_printable)]
"""Value of a tag or a property: printable, 1,024 characters at most; empty for a bare tag."""

Labels = dict[LabelKey, LabelValue]


def _description(text: str) -> str:
    if any(not (c.isprintable() or c in "\n\t") for c in text):
        raise ValueError("control characters are not allowed")
    return text


Description = Annotated[str, StringConstraints(max_length=10_000), AfterValidator(_description)]


def _relative_path(text: str) -> str:
    parts = text.split("/")
    if not text.isprintable() or "\\" in text or len(text.encode()) > 1024:
        raise ValueError("a path is printable, uses `/`, and is at most 1,024 bytes long")
    if any(part in ("", ".", "..") or len(part.encode()) > 255 for part in parts):
        raise ValueError("a path is relative, without empty parts, `.` or `..`")
    return text


RelativePath = Annotated[str, AfterValidator(_relative_path)]
"""A file's place inside a model or an image: relative, with `/`, nothing that climbs."""


class Reference(NamedTuple):
    """`name:version`, or `name` for the latest version."""

    name: str
    version: int | None

    def __str__(self) -> str:
        return self.name if self.version is None else f"{self.name}:{self.version}"

    @classmethod
    def parse(cls, text: str, kind: str = "model") -> Reference:
        """Read `iris:3` or `iris`.

        Raises:
            InvalidRequest: The text is neither.
        """
        name, colon, version = text.partition(":")
        if not re.fullmatch(NAME_PATTERN, name) or (
            colon and not re.fullmatch(r"[1-9][0-9]{0,8}", version)
        ):
            raise InvalidRequest(
                f"`{text[:200]}` is not a {kind} reference",
                hint="write `name` for the latest version or `name:version`, such as `iris:3`; "
                "names are lower-case letters, digits, `.`, `_` and `-`",
            )
        return cls(name, int(version) if colon else None)


_DURATION = re.compile(r"^([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)$")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = re.compile(r"^([0-9]+(?:\.[0-9]+)?)(B|kB|MB|GB|KiB|MiB|GiB)$")
_FACTOR = {
    "B": 1,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
}


def parse_duration(text: object) -> object:
    """Seconds of `"250ms"`, `"10s"`, `"5m"`, `"1h"`, `"30d"`; numbers are seconds already."""
    if not isinstance(text, str):
        return text
    match = _DURATION.match(text)
    if match is None:
        raise ValueError('write a duration with its unit: "250ms", "10s", "5m", "1h", "30d"')
    return float(match[1]) * _SECONDS[match[2]]


def parse_bytes(text: object) -> object:
    """Bytes of `"512MiB"`, `"2GB"`; numbers are bytes already."""
    if not isinstance(text, str):
        return text
    match = _BYTES.match(text)
    if match is None:
        raise ValueError('write a size with its unit (kB, MB, GB, KiB, MiB, GiB): "512MiB", "2GB"')
    return int(float(match[1]) * _FACTOR[match[2]])


def parse_percent(text: object) -> object:
    """The number of `"10%"`; numbers are percent already."""
    if not isinstance(text, str):
        return text
    match = re.fullmatch(r"([0-9]{1,3}) ?%?", text.strip())
    if match is None:
        raise ValueError('write a whole number of percent: "10%"')
    return int(match[1])


def parse_share(text: object) -> object:
    """As `parse_percent`; `"off"` is 0."""
    return 0 if text == "off" else parse_percent(text)


_DurationText = Annotated[str, StringConstraints(pattern=_DURATION.pattern)]
_BytesText = Annotated[str, StringConstraints(pattern=_BYTES.pattern)]

Seconds = Annotated[
    float, BeforeValidator(parse_duration, json_schema_input_type=float | _DurationText)
]
"""A duration: text with a unit (`"10ms"`) or a number of seconds; kept as seconds."""

Percent = Annotated[
    int,
    BeforeValidator(parse_percent, json_schema_input_type=int | str),
    Field(ge=1, le=100),
]
"""A share: text (`"10%"`) or a whole number of percent from 1 to 100; kept as the number."""


def _whole(shares: dict[str, int]) -> dict[str, int]:
    total = sum(shares.values())
    if total != 100:
        raise ValueError(f"shares are 100 % together, not {total} %")
    return shares


Shares = Annotated[dict[str, Percent], Field(min_length=1, max_length=10), AfterValidator(_whole)]
"""Percent of a service's traffic by image, `{"digits:3": 80, "digits:4": 20}`; together 100."""

Share = Annotated[
    int, BeforeValidator(parse_share, json_schema_input_type=int | str), Field(ge=0, le=100)
]
"""A share that may be nothing: as `Percent`, or `"off"`."""

Bytes = Annotated[int, BeforeValidator(parse_bytes, json_schema_input_type=int | _BytesText)]
"""A size: text with a unit (`"512MiB"`) or a number of bytes; kept as bytes."""


def duration_text(seconds: float) -> str:
    """A duration for people, in the largest unit that leaves a whole number: `10m`."""
    for unit in ("d", "h", "m"):
        if seconds and seconds % _SECONDS[unit] == 0:
            return f"{seconds / _SECONDS[unit]:.0f}{unit}"
    return f"{seconds:g}s"


def size_text(count: int) -> str:
    """Bytes with a unit, for people: `72.3 MiB`."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024 or unit == "GiB":
            break
        amount /= 1024
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
