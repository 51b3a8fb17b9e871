"""Which names the pickles among a model's files would import. Called at registration.

Found are pickles by their first bytes or their name: as they are, packed by a codec of joblib's,
as members of a zip archive, and several in one file. What comes of it is a label: it is shown, and
nothing relies on it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from modelyard.control import zip_names
from modelyard.control.pickles.machine import OPCODES, Machine
from modelyard.control.pickles.sources import (
    Budget,
    Ranges,
    ReadBytes,
    Reader,
    Source,
    Unreadable,
    deflated,
    unpacked,
)
from modelyard.domain.model import Imports, ModelFile

NAMES = (".pkl", ".pickle", ".p", ".joblib")
_LZ4 = b"\x04\x22\x4d\x18"
_LZ4_NAMES = (".joblib.lz4", ".pkl.lz4", ".lz4", *NAMES)
_PROTOCOLS = range(2, 6)
_MODULE = re.compile(r"[A-Za-z_][\w.]*\Z")
_HEAD = 16
_MOST_FILES = 1000
_MOST_MEMBERS = 64
_MOST_IN_ONE_FILE = 16
_MOST_OPCODES = 1_000_000
"""Of all files together: about a second and a half."""
_MOST_BYTES = 256 << 20
"""Unpacked, of all files together, without what can be stepped over."""
_GUESS_OPCODES = 5_000
_STORED, _DEFLATED = 0, 8

Found = dict[tuple[str, str], None]


def scan(files: Sequence[ModelFile], read: Callable[[str, int, int], bytes]) -> Imports | None:
    """What the pickles among the files would import, or None when there are no pickles.

    Args:
        files: The model's.
        read: Bytes of a blob: digest, offset, length.
    """
    found: Found = {}
    budget = Budget(opcodes=_MOST_OPCODES, size=_MOST_BYTES)
    ends: list[bool] = []
    for file in _likely_first(files)[:_MOST_FILES]:
        ends += _file(file.path.lower(), file.size, partial(read, file.digest), budget, found)
    if not ends:
        return None
    return Imports(
        names=tuple(sorted(_shown(".".join(name)) for name in found)),
        complete=all(ends) and len(files) <= _MOST_FILES,
    )


def has_header(data: bytes) -> bool:
    """Whether the bytes begin as a pickle of protocol 2 or later does."""
    return len(data) > 2 and data[0] == 0x80 and data[1] in _PROTOCOLS and data[2] in OPCODES


def modules(data: bytes) -> list[str] | None:
    """The modules that a pickle names, in order; None when this is no pickle.

    The bytes may be cut off anywhere. An answer is a guess: it is shown, nothing relies on it.
    """
    found: Found = {}
    budget = Budget(opcodes=_GUESS_OPCODES, size=len(data))
    reader = Reader(
        Ranges(lambda offset, length: data[offset : offset + length], 0, len(data)), budget
    )
    try:
        Machine(reader, budget, found).run()
        whole = not reader.peek(1)
    except Unreadable:
        whole = False
    names = list(dict.fromkeys(module for module, _ in found))
    # Without a header nearly any text begins with something that could be opcodes.
    named = bool(names) and all(_MODULE.match(name) for name in names)
    return names if has_header(data) or whole or named else None


def _likely_first(files: Sequence[ModelFile]) -> list[ModelFile]:
    return sorted(files, key=lambda file: (not file.path.lower().endswith(NAMES), -file.size))


def _file(name: str, size: int, read: ReadBytes, budget: Budget, found: Found) -> Iterator[bool]:
    """For every pickle in one file, whether it was read to its end."""
    head = read(0, min(size, _HEAD)) if size else b""
    if head.startswith(zip_names.MAGIC):
        yield from _members(size, read, budget, found)
    elif (inside := unpacked(Ranges(read, 0, size), head)) is not None:
        yield from _pickles(name, inside, budget, found)
    elif head.startswith(_LZ4) and name.endswith(_LZ4_NAMES):
        yield False  # needs a codec that is not there
    else:
        yield from _pickles(name, Ranges(read, 0, size), budget, found)


def _members(size: int, read: ReadBytes, budget: Budget, found: Found) -> Iterator[bool]:
    members = [m for m in zip_names.members(size, read) if m.name.lower().endswith(NAMES)]
    for member in members[:_MOST_MEMBERS]:
        begin = zip_names.content_at(member, read)
        content: Source = Ranges(read, begin, min(begin + member.packed, size))
        if member.method == _DEFLATED:
            content = deflated(content)
        elif member.method != _STORED:
            yield False
            continue
        yield from _pickles(member.name.lower(), content, budget, found)
    if len(members) > _MOST_MEMBERS:
        yield False


def _pickles(name: str, source: Source, budget: Budget, found: Found) -> Iterator[bool]:
    """Whether everything was read, if there is a pickle at all."""
    reader = Reader(source, budget)
    marked = has_header(reader.peek(3))
    if not marked and not name.endswith(NAMES):
        return
    before = len(found)
    machine = Machine(reader, budget, found)
    try:
        machine.run()
        for _ in range(_MOST_IN_ONE_FILE):  # as torch wrote them before it wrote archives
            if not has_header(reader.peek(3)):
                break
            machine.run()
    except Unreadable:
        if marked or len(found) > before:
            yield False
        return
    yield True


def _shown(name: str) -> str:
    """A name of a stranger's, as one line of plain text."""
    return name if name.isprintable() else name.encode("unicode_escape").decode()
