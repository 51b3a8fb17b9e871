"""Reads the two forms a browser posts: `application/x-www-form-urlencoded` and multipart.

For `AMLRequest.form` and `.files`. The body has been read and is within its limit; the number of
parts and the size of their headers are bounded here, and every part is a slice of the body.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from email.message import Message
from io import BytesIO
from urllib.parse import parse_qsl

from modelyard_runtime.compat.fields import HeaderFields
from modelyard_runtime.http.messages import HttpError

MOST_PARTS = 1000
_LONGEST_PART_HEAD = 8 << 10
_LONGEST_BOUNDARY = 200
_MOST_SEMICOLONS = 20
"""In a `Content-Disposition`: the time to take it apart grows with their square."""


class MalformedForm(HttpError, ValueError):
    """The body is not the form that its content type says.

    Where a script does not catch it, the client is told, and the script has not failed.
    """

    def __init__(self, message: str) -> None:
        super().__init__(400, f"The form cannot be read: {message}.")


@dataclass(slots=True)
class UploadedFile:
    """A file in a form; reads like one."""

    name: str
    """Of the field."""
    filename: str
    headers: HeaderFields
    stream: BytesIO

    @property
    def content_type(self) -> str:
        """As the client has named it."""
        return str(self.headers.get("Content-Type", ""))

    @property
    def mimetype(self) -> str:
        """The content type without its parameters."""
        return self.content_type.partition(";")[0].strip().lower()

    def read(self, size: int = -1) -> bytes:
        """The next bytes, or all that are left."""
        return self.stream.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move to an offset."""
        return self.stream.seek(offset, whence)

    def tell(self) -> int:
        """The offset of the next byte."""
        return self.stream.tell()

    def save(self, destination: str | os.PathLike[str]) -> None:
        """Write what is left to a file."""
        with open(destination, "wb") as file:
            file.write(self.stream.read())


Fields = list[tuple[str, str]]
Files = list[tuple[str, UploadedFile]]


def read_urlencoded(body: bytes) -> Fields:
    """The fields of a posted form.

    Raises:
        MalformedForm: It has too many fields.
    """
    text = body.decode("utf-8", "replace")
    try:
        return parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_PARTS)
    except ValueError:
        raise MalformedForm(f"a form must not have more than {MOST_PARTS} fields") from None


def read_multipart(body: bytes, boundary: str) -> tuple[Fields, Files]:
    """The fields and files of a multipart body.

    Raises:
        MalformedForm: It has no usable boundary, no end, too many parts or too long part headers.
    """
    if not 0 < len(boundary) <= _LONGEST_BOUNDARY:
        raise MalformedForm("the content type names no boundary between the parts of the form")
    fields: Fields = []
    files: Files = []
    for head, content in _parts(body, b"--" + boundary.encode("latin-1", "replace")):
        headers = _part_headers(head)
        name, filename = _disposition(str(headers.get("Content-Disposition", "")))
        if filename is None:
            fields.append((name, content.decode("utf-8", "replace")))
        else:
            files.append((name, UploadedFile(name, filename, headers, BytesIO(content))))
    return fields, files


def _parts(body: bytes, delimiter: bytes) -> list[tuple[bytes, bytes]]:
    parts: list[tuple[bytes, bytes]] = []
    text = b"\r\n" + body  # the first delimiter may have nothing before it
    delimiter = b"\r\n" + delimiter
    start = text.find(delimiter)
    while start >= 0:
        start += len(delimiter)
        if text.startswith(b"--", start):
            return parts
        end = text.find(delimiter, start)
        if end < 0 or len(parts) >= MOST_PARTS:
            break
        parts.append(_split(text, start, end))
        start = end
    raise MalformedForm("a part of the form has no end, or there are too many")


def _split(text: bytes, start: int, end: int) -> tuple[bytes, bytes]:
    head_end = text.find(b"\r\n\r\n", start, min(end, start + _LONGEST_PART_HEAD) + 4)
    if head_end < 0:
        raise MalformedForm("a part of the form has no end of its header fields")
    return text[start:head_end], text[head_end + 4 : end]


def _part_headers(head: bytes) -> HeaderFields:
    lines = [line.partition(b":") for line in head.split(b"\r\n") if b":" in line]
    fields = [(name.decode("latin-1").strip(), value) for name, _, value in lines]
    try:
        return HeaderFields(
            (name, value.decode("utf-8", "replace").strip()) for name, value in fields
        )
    except ValueError as error:
        raise MalformedForm(str(error)) from None


def _disposition(value: str) -> tuple[str, str | None]:
    if value.count(";") > _MOST_SEMICOLONS:
        raise MalformedForm("a part of the form has too many semicolons in its disposition")
    message = Message()
    message["content-disposition"] = value
    name = message.get_param("name", header="content-disposition")
    filename = message.get_param("filename", header="content-disposition")
    if name is None:
        raise MalformedForm("a part of the form has no name")
    return _text(name), None if filename is None else _text(filename)


def _text(parameter: str | tuple[str | None, str | None, str]) -> str:
    return parameter if isinstance(parameter, str) else parameter[2]
