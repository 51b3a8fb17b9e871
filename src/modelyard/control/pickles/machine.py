"""Follows a pickle opcode by opcode, with a stack of what is known of each value. Called by `scan`.

It builds nothing: of a value it remembers a short text, a number, a name that would be imported, or
that something would be made by one. That is enough to find names that are put together on the
stack, and to step over the arrays that joblib writes between opcodes.
"""

from __future__ import annotations

import io
import math
import pickletools
import re
from dataclasses import dataclass
from typing import Any

from modelyard.control.pickles.sources import Budget, Reader, Unreadable

_LONGEST_TEXT = 256
_MOST_TEXT = 16 << 20
_MOST_NAMES = 1000
_MOST_FIELDS = 32
_DEEPEST = 4
_WRAPPER = "joblib.numpy_pickle.NumpyArrayWrapper"
_DTYPE = re.compile(r"([biufcSUVmM])(\d{1,9})\Z")

_BY_CODE = {ord(opcode.code): opcode for opcode in pickletools.opcodes}
OPCODES = frozenset(_BY_CODE)
_PREFIXES = {
    pickletools.TAKEN_FROM_ARGUMENT1: 1,
    pickletools.TAKEN_FROM_ARGUMENT4: 4,
    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
    pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}
_KNOWN = ("str", "int", "int_or_bool", "bytes_or_str")
"""Kinds of values, as `pickletools` calls them, whose argument is remembered."""


@dataclass(frozen=True, slots=True)
class _Name:
    """Something that would be imported."""

    text: str


@dataclass(frozen=True, slots=True)
class _Made:
    """Something that would be made by calling what was imported."""

    by: str
    arguments: tuple[Any, ...]


_MARK = object()
_ANYTHING = None
UNKNOWN = "?"
"""In place of a part of a name that is only known when the pickle is loaded."""


class Machine:
    """Reads pickles from one reader.

    Args:
        reader: Where the opcodes come from.
        budget: How many there may be.
        names: Gets every name that would be imported, as `module` and `name`, in order.
    """

    def __init__(self, reader: Reader, budget: Budget, names: dict[tuple[str, str], None]) -> None:
        self._reader = reader
        self._budget = budget
        self._names = names
        self._text = _MOST_TEXT
        self._depth = 0
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def run(self) -> None:
        """Follow one pickle from here to its end.

        Raises:
            Unreadable: It is none, is cut off, or goes beyond a limit; `names` has what was found.
        """
        outer = self._stack, self._memo
        self._stack, self._memo = [], {}
        while self._step():
            pass
        self._stack, self._memo = outer

    def _step(self) -> bool:
        self._budget.opcode()
        opcode = _BY_CODE.get(self._reader.take(1)[0])
        if opcode is None:
            raise Unreadable("not an opcode")
        argument = self._argument(opcode)
        act = _ACTS.get(opcode.name)
        if act is not None:
            act(self, argument)
        else:
            self._usual(opcode, argument)
        return opcode.name != "STOP"

    def _argument(self, opcode: pickletools.OpcodeInfo) -> Any:
        """The argument as Python has it; unknown when it is long."""
        described = opcode.arg
        if described is None:
            return _ANYTHING
        data = self._argument_bytes(described)
        if data is None:
            return _ANYTHING
        try:
            return described.reader(io.BytesIO(data))
        except ValueError as error:
            raise Unreadable("not an argument") from error

    def _argument_bytes(self, described: pickletools.ArgumentDescriptor) -> bytes | None:
        if described.n >= 0:
            return self._reader.take(described.n)
        if described.n == pickletools.UP_TO_NEWLINE:
            count = 2 if described.name == "stringnl_noescape_pair" else 1
            lines = [self._reader.line(_LONGEST_TEXT) for _ in range(count)]
            return (
                None
                if None in lines
                else b"".join(line + b"\n" for line in lines if line is not None)
            )
        prefix = self._reader.take(_PREFIXES[described.n])
        length = int.from_bytes(prefix, "little")
        if length > _LONGEST_TEXT:
            self._reader.skip(length)
            return None
        return prefix + self._reader.take(length)

    def _usual(self, opcode: pickletools.OpcodeInfo, argument: Any) -> None:
        """Do to the stack what the opcode is described to do."""
        before = list(opcode.stack_before)
        if pickletools.markobject in before:
            self._to_mark()
            before = before[: before.index(pickletools.markobject)]
        kept = [self._pop() for _ in before]
        # What a container gets is put into the one that lies there.
        same = len(before) == 1 == len(opcode.stack_after) and before == list(opcode.stack_after)
        for described in opcode.stack_after:
            known = argument if described.name in _KNOWN else _ANYTHING
            self._push(kept[0] if same else known)

    def _push(self, value: Any) -> None:
        if isinstance(value, str):
            self._text -= len(value)
            if self._text < 0:
                value = _ANYTHING
        self._stack.append(value)

    def _pop(self) -> Any:
        if not self._stack:
            raise Unreadable("nothing on the stack")
        return self._stack.pop()

    def _to_mark(self) -> list[Any]:
        """What was pushed since the last mark, which goes too."""
        for place in range(len(self._stack) - 1, -1, -1):
            if self._stack[place] is _MARK:
                items = self._stack[place + 1 :]
                del self._stack[place:]
                return items
        raise Unreadable("no mark on the stack")

    def _import(self, module: object, name: object) -> None:
        parts = tuple(part if isinstance(part, str) else UNKNOWN for part in (module, name))
        if len(self._names) >= _MOST_NAMES and parts not in self._names:
            raise Unreadable("too many names")
        self._names[(parts[0], parts[1])] = None
        self._push(_Name(".".join(parts)))

    # What some opcodes do beyond what is usual.

    def _global(self, argument: str | None) -> None:
        module, _, name = (argument or UNKNOWN).partition(" ")
        self._import(module, name or UNKNOWN)

    def _instance(self, argument: str | None) -> None:
        self._to_mark()
        self._global(argument)

    def _stack_global(self, _: Any) -> None:
        name, module = self._pop(), self._pop()
        self._import(module, name)

    def _extension(self, code: int) -> None:
        self._import("copyreg", f"extension {code}")

    def _call(self, _: Any) -> None:
        arguments, function = self._pop(), self._pop()
        by = function.text if isinstance(function, _Name) else UNKNOWN
        self._push(_Made(by, arguments if isinstance(arguments, tuple) else ()))

    def _build(self, _: Any) -> None:
        state = self._pop()
        made = self._stack[-1] if self._stack else _ANYTHING
        if isinstance(made, _Made) and made.by == _WRAPPER:
            self._step_over_array(state if isinstance(state, dict) else {})

    def _step_over_array(self, state: dict[Any, Any]) -> None:
        """joblib writes an array's own bytes behind the opcodes that describe it."""
        shape, dtype = state.get("shape"), state.get("dtype")
        code = dtype.arguments[0] if isinstance(dtype, _Made) and dtype.arguments else _ANYTHING
        if not isinstance(shape, tuple) or not all(isinstance(size, int) for size in shape):
            raise Unreadable("an array of unknown shape")
        if isinstance(code, str) and code.startswith("O"):
            self._inside()
            return
        kind = _DTYPE.match(code) if isinstance(code, str) else None
        if kind is None or any(size < 0 for size in shape):
            raise Unreadable("an array of unknown size")
        if isinstance(state.get("numpy_array_alignment_bytes"), int):
            self._reader.skip(self._reader.take(1)[0])
        width = int(kind[2]) * (4 if kind[1] == "U" else 1)
        self._reader.skip(math.prod(shape) * width)

    def _inside(self) -> None:
        """An array of objects is another pickle."""
        self._depth += 1
        if self._depth > _DEEPEST:
            raise Unreadable("too deep")
        self.run()
        self._depth -= 1

    def _mark(self, _: Any) -> None:
        self._push(_MARK)

    def _duplicate(self, _: Any) -> None:
        value = self._pop()
        self._stack += [value, value]

    def _tuple(self, items: list[Any]) -> None:
        self._push(tuple(items) if len(items) <= _MOST_FIELDS else _ANYTHING)

    def _marked_tuple(self, _: Any) -> None:
        self._tuple(self._to_mark())

    def _short_tuple(self, count: int) -> None:
        self._tuple([self._pop() for _ in range(count)][::-1])

    def _dict(self, _: Any) -> None:
        self._push({})

    def _set_items(self, items: list[Any]) -> None:
        target = self._stack[-1] if self._stack else _ANYTHING
        if isinstance(target, dict):
            for key, value in zip(items[::2], items[1::2], strict=False):
                if isinstance(key, str) and len(target) < _MOST_FIELDS:
                    target[key] = value

    def _put(self, place: int | None) -> None:
        value = self._stack[-1] if self._stack else _ANYTHING
        self._memo[len(self._memo) if place is None else place] = value

    def _get(self, place: int) -> None:
        self._push(self._memo.get(place))


_ACTS: dict[str, Any] = {
    "GLOBAL": Machine._global,
    "INST": Machine._instance,
    "STACK_GLOBAL": Machine._stack_global,
    **dict.fromkeys(("EXT1", "EXT2", "EXT4"), Machine._extension),
    **dict.fromkeys(("REDUCE", "NEWOBJ"), Machine._call),
    "BUILD": Machine._build,
    "MARK": Machine._mark,
    "DUP": Machine._duplicate,
    "TUPLE": Machine._marked_tuple,
    "EMPTY_TUPLE": lambda machine, _: machine._short_tuple(0),
    "TUPLE1": lambda machine, _: machine._short_tuple(1),
    "TUPLE2": lambda machine, _: machine._short_tuple(2),
    "TUPLE3": lambda machine, _: machine._short_tuple(3),
    "EMPTY_DICT": Machine._dict,
    "SETITEM": lambda machine, _: machine._set_items([machine._pop(), machine._pop()][::-1]),
    "SETITEMS": lambda machine, _: machine._set_items(machine._to_mark()),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"), Machine._put),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), Machine._get),
}
