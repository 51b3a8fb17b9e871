"""Which classes a pickle names, read from its opcodes. Nothing is ever loaded.

Called by `control.formats` with the first bytes of a file, which may be hostile.
"""

from __future__ import annotations

import io
import pickletools
import re
from itertools import islice

_MOST_OPCODES = 5_000
_OPCODES = frozenset(ord(opcode.code) for opcode in pickletools.opcodes)
_PROTOCOLS = range(2, 6)
_MODULE = re.compile(r"[A-Za-z_][\w.]*\Z")
_STRINGS = frozenset(
    {"SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE", "SHORT_BINSTRING", "BINSTRING"}
)


def has_header(data: bytes) -> bool:
    """Whether the bytes begin as a pickle of protocol 2 or later does."""
    if len(data) < 3:
        return False
    return data[0] == 0x80 and data[1] in _PROTOCOLS and data[2] in _OPCODES


def modules(data: bytes) -> list[str] | None:
    """The modules whose classes are named, in order; None when this is no pickle.

    The bytes may be cut off anywhere. An answer is a guess: it is shown, nothing relies on it.
    """
    found: list[str] = []
    try:
        whole = _scan(data, found)
    except Exception:  # pickletools promises nothing about bytes that are cut off or hostile
        whole = False
    # Without a header nearly any text begins with something that could be opcodes.
    named = bool(found) and all(_MODULE.match(name) for name in found)
    return found if has_header(data) or whole or named else None


def _scan(data: bytes, found: list[str]) -> bool:
    """Collect module names; whether the bytes are a pickle from the first to the last."""
    strings: list[str] = []
    for opcode, argument, place in islice(pickletools.genops(io.BytesIO(data)), _MOST_OPCODES):
        if opcode.name in _STRINGS:
            strings.append(argument if isinstance(argument, str) else "")
        elif opcode.name == "GLOBAL" and isinstance(argument, str):
            found.append(argument.partition(" ")[0])
        elif opcode.name == "STACK_GLOBAL" and len(strings) > 1:
            found.append(strings[-2])
        elif opcode.name == "STOP":
            return place == len(data) - 1
    return False
