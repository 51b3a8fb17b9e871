"""Which classes a pickle names, read from its opcodes. Nothing is ever loaded.

Called by `control.formats` with the first bytes of a file, which may be hostile.
"""

from __future__ import annotations

import io
import pickletools

_MOST_OPCODES = 5_000
_PROTOCOLS = range(2, 6)
_STRINGS = frozenset(
    {"SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE", "SHORT_BINSTRING", "BINSTRING"}
)


def has_header(data: bytes) -> bool:
    """Whether the bytes begin as a pickle of protocol 2 or later does."""
    return len(data) > 2 and data[0] == 0x80 and data[1] in _PROTOCOLS


def modules(data: bytes) -> list[str] | None:
    """The modules whose classes are named, in order; None when this is no pickle.

    The bytes may be cut off anywhere. An answer is a guess: it is shown, nothing relies on it.
    """
    found: list[str] = []
    strings: list[str] = []
    opcodes = 0
    try:
        for opcode, argument, _ in pickletools.genops(io.BytesIO(data)):
            opcodes += 1
            if opcode.name in _STRINGS:
                strings.append(argument if isinstance(argument, str) else "")
            elif opcode.name == "GLOBAL" and isinstance(argument, str):
                found.append(argument.partition(" ")[0])
            elif opcode.name == "STACK_GLOBAL" and len(strings) > 1:
                found.append(strings[-2])
            if opcodes >= _MOST_OPCODES:
                break
    except Exception:  # pickletools promises nothing about bytes that are cut off or hostile
        return found if opcodes > 1 else None
    return found
