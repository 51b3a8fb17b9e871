"""Memory that the processes of a gateway share: what each of them has in hand, by name.

A table of whole numbers. Each process has a column and alone writes it, so nothing is ever locked
on the way of a request: what all have in hand together is the sum of a row. Rows are named, and
come and go with the configuration. A process holds the lock of its column's byte for as long as it
lives, so that the column of one that was killed is known for what it is, by whoever is there then.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import mmap
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress

COLUMNS = 32
"""Most processes at once: those that serve, and those of earlier gateways that still drain."""
ROWS = 4096

_WORD = 8
_KEY = 16
_LABEL = 64
_FACTS = 5  # words about each column: its process, its gateway's generation, and three more
_PID, _GENERATION, _VERSION, _CONNECTIONS, _BEATS = range(_FACTS)

_HEAD = 3 * _WORD
_CURRENT, _RESERVED, _ROWS_USED = range(3)
_FACTS_AT = _HEAD
_CELLS_AT = _FACTS_AT + COLUMNS * _FACTS * _WORD
_KEYS_AT = _CELLS_AT + ROWS * COLUMNS * _WORD
_LABELS_AT = _KEYS_AT + ROWS * _KEY
_USES_AT = _LABELS_AT + ROWS * _LABEL
_SIZE = _USES_AT + ROWS * COLUMNS

LAYOUT = f"1 {COLUMNS} {ROWS} {_FACTS} {_LABEL}"
"""Of the table; processes of another version read it only if it is the same."""

_UNUSED = bytes(COLUMNS)
_NO_MORE = 1 << 40  # more connections than anybody has: not to be waited for

_log = logging.getLogger("modelyard.gateway")


class Board:
    """The table. Without a file it is for this process alone, and those it forks.

    Args:
        fd: A file of the table's size, kept open; -1: none.
        bells: For each column a pipe, its end to read and its end to write.
    """

    def __init__(self, fd: int = -1, bells: tuple[tuple[int, int], ...] = ()) -> None:
        self.fd = fd
        self.bells = bells
        self._memory = mmap.mmap(fd, _SIZE)
        view = memoryview(self._memory)
        self._head = view[:_HEAD].cast("q")
        self._facts = view[_FACTS_AT:_CELLS_AT].cast("q")
        self._cells = view[_CELLS_AT:_KEYS_AT].cast("q")

    @classmethod
    def make(cls) -> Board:
        """A table that processes can hand to each other."""
        return cls(_anonymous_file(), tuple(_bell() for _ in range(COLUMNS)))

    @property
    def generation(self) -> int:
        """Of the gateway that serves; those before it drain."""
        return self._head[_CURRENT]

    def reserve(self) -> int:
        """A generation for a gateway that is to come."""
        with self._locked():
            self._head[_RESERVED] += 1
            return self._head[_RESERVED]

    def supersede(self, generation: int) -> None:
        """That generation serves now; those before it see that they are to drain."""
        with self._locked():
            self._head[_CURRENT] = max(self._head[_CURRENT], generation)
            self._head[_RESERVED] = max(self._head[_RESERVED], generation)
        self.ring()

    def sit(self, generation: int, version: int) -> Seat | None:
        """A column for this process, which serves that version; None when all are taken."""
        with self._locked():
            for column in range(COLUMNS):
                if self._is_free(column):
                    self._clear(column)
                    self._set(column, _GENERATION, generation)
                    self._set(column, _VERSION, version)
                    self._set(column, _CONNECTIONS, _NO_MORE)
                    self._set(column, _PID, os.getpid())
                    return Seat(self, column)
        return None

    def clear_dead(self) -> None:
        """Empty the columns of processes that are gone, and have the others look again."""
        with self._locked():
            dead = [column for column in self.columns() if self._is_free(column)]
            for column in dead:
                self._clear(column)
                with suppress(OSError):
                    fcntl.lockf(self.fd, fcntl.LOCK_UN, 1, 1 + column)
        if dead:
            self.ring()

    def columns(self) -> list[int]:
        """Those that belong to a process."""
        pids = self._facts[_PID::_FACTS]
        return [column for column in range(COLUMNS) if pids[column]]

    def versions(self) -> list[int]:
        """The version of the configuration that each process serves."""
        return [self._fact(column, _VERSION) for column in self.columns()]

    def beats(self) -> dict[int, int]:
        """How often each process has said that it gets on, by its id."""
        return {self._fact(column, _PID): self._fact(column, _BEATS) for column in self.columns()}

    def connections(self, column: int) -> int:
        """How many connections of callers a process has that takes more; many, if it does not."""
        return self._fact(column, _CONNECTIONS)

    def total(self, name: str) -> int:
        """The sum of a row; 0 when there is none."""
        row = self._find(row_key(name))
        return 0 if row is None else self._sum(row)

    def rows(self) -> Iterator[tuple[bytes, str, int]]:
        """Key, label and sum of each row that a process uses."""
        memory = self._memory
        for row in range(self._head[_ROWS_USED]):
            if not self._is_unused(row):
                key = memory[_KEYS_AT + row * _KEY : _KEYS_AT + (row + 1) * _KEY]
                label = memory[_LABELS_AT + row * _LABEL : _LABELS_AT + (row + 1) * _LABEL]
                yield key, label.rstrip(b"\0").decode(errors="replace"), self._sum(row)

    def ring(self, column: int | None = None) -> None:
        """Have the process of a column look again at what it waits for; None: all of them."""
        for one in self.columns() if column is None else (column,):
            if self.bells:
                with suppress(BlockingIOError):  # it has not even heard the last ones
                    os.write(self.bells[one][1], b"!")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Alone among all processes; for what is rare."""
        if self.fd < 0:
            yield
            return
        fcntl.lockf(self.fd, fcntl.LOCK_EX, 1, 0)
        try:
            yield
        finally:
            fcntl.lockf(self.fd, fcntl.LOCK_UN, 1, 0)

    def _is_free(self, column: int) -> bool:
        """Whether it is nobody's, or of a process that is gone; then its lock is held by us."""
        pid = self._fact(column, _PID)
        if self.fd < 0 or pid == os.getpid():
            return not pid
        try:
            fcntl.lockf(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 1 + column)
        except OSError:
            return False
        return True

    def _clear(self, column: int) -> None:
        used = self._memory[_USES_AT + column : _SIZE : COLUMNS]
        row = used.find(1)
        while row >= 0:
            self._free(row, column)
            row = used.find(1, row + 1)
        for fact in range(_FACTS):
            self._set(column, fact, 0)

    def _claim(self, name: str, label: str, column: int) -> int | None:
        """The row of that name, one process more uses it; None when the table is full."""
        key = row_key(name)
        with self._locked():
            row = self._find(key)
            if row is None:
                row = self._unused_row()
                if row is None:
                    return None
                at = _LABELS_AT + row * _LABEL
                self._memory[at : at + _LABEL] = label.encode()[:_LABEL].ljust(_LABEL, b"\0")
                at = _KEYS_AT + row * _KEY
                self._memory[at : at + _KEY] = key
            self._memory[_USES_AT + row * COLUMNS + column] = 1
        return row

    def _free(self, row: int, column: int) -> None:
        self._cells[row * COLUMNS + column] = 0
        self._memory[_USES_AT + row * COLUMNS + column] = 0

    def _find(self, key: bytes) -> int | None:
        end = _KEYS_AT + self._head[_ROWS_USED] * _KEY
        at = self._memory.find(key, _KEYS_AT, end)
        while at >= 0:
            row, rest = divmod(at - _KEYS_AT, _KEY)
            if not rest and not self._is_unused(row):
                return row
            at = self._memory.find(key, at + 1, end)
        return None

    def _unused_row(self) -> int | None:
        used = self._head[_ROWS_USED]
        end = _USES_AT + used * COLUMNS
        at = self._memory.find(_UNUSED, _USES_AT, end)
        while at >= 0:
            row, rest = divmod(at - _USES_AT, COLUMNS)
            if not rest:
                return row
            at = self._memory.find(_UNUSED, at + COLUMNS - rest, end)
        if used == ROWS:
            return None
        self._head[_ROWS_USED] = used + 1
        return used

    def _is_unused(self, row: int) -> bool:
        at = _USES_AT + row * COLUMNS
        return self._memory[at : at + COLUMNS] == _UNUSED

    def _sum(self, row: int) -> int:
        return sum(self._cells[row * COLUMNS : (row + 1) * COLUMNS])

    def _fact(self, column: int, fact: int) -> int:
        return self._facts[column * _FACTS + fact]

    def _set(self, column: int, fact: int, value: int) -> None:
        self._facts[column * _FACTS + fact] = value


class Seat:
    """The column of this process.

    Attributes:
        peers: The columns of the other processes, as of the last look.
        generation: Of the gateway that the process belongs to.
    """

    def __init__(self, board: Board, column: int) -> None:
        self.board = board
        self.column = column
        self.peers: tuple[int, ...] = ()
        self.generation = board._fact(column, _GENERATION)
        self._connections = self._beats = 0
        self._accepts = False
        self._tallies: dict[str, Tally] = {}
        self.look()
        self.board.ring()

    @classmethod
    def alone(cls) -> Seat:
        """That of a process that is a gateway by itself."""
        seat = Board().sit(0, 0)
        assert seat is not None
        return seat

    @property
    def bell(self) -> int | None:
        """Descriptor that becomes readable when another process rings; None: nobody can."""
        return self.board.bells[self.column][0] if self.board.bells else None

    def look(self) -> None:
        """Take note of who else is there, and forget the rings until now."""
        if self.bell is not None:
            with suppress(BlockingIOError):
                os.read(self.bell, 4096)
        self.peers = tuple(column for column in self.board.columns() if column != self.column)

    def leave(self) -> None:
        """This process has nothing in hand any more."""
        self.board._clear(self.column)
        self.board.ring()

    def serves(self, version: int) -> None:
        """This process serves that version of the configuration from now on."""
        self.board._set(self.column, _VERSION, version)

    def beat(self) -> None:
        """This process gets on."""
        self._beats += 1
        self.board._set(self.column, _BEATS, self._beats)

    def accepts(self, *, more: bool) -> None:
        """Whether this process takes more connections of callers."""
        self._accepts = more
        self.add(0)

    def add(self, change: int) -> None:
        """It has so many connections more, or fewer."""
        self._connections += change
        told = self._connections if self._accepts else _NO_MORE
        self.board._set(self.column, _CONNECTIONS, told)

    def is_exceeded(self) -> bool:
        """Whether another process has fewer connections, and by more than one."""
        connections = self.board.connections
        return any(self._connections > connections(peer) + 1 for peer in self.peers)

    def tally(self, name: str, label: str = "") -> Tally:
        """This process's part of a row, which is made when it is missing."""
        tally = self._tallies.get(name)
        if tally is None:
            row = self.board._claim(name, label, self.column)
            if row is None:
                _log.error("`%s` is counted in each process for itself: the table is full", name)
            tally = self._tallies[name] = Tally(self, name, row)
        tally.users += 1
        return tally

    def drop(self, tally: Tally) -> None:
        """A tally is not needed any more by one of those who asked for it."""
        tally.users -= 1
        if not tally.users:
            del self._tallies[tally.name]
            tally.detach()


class Tally:
    """One number of this process, beside those of the same name of others.

    Attributes:
        name: Of its row.
        own: The number of this process.
        users: How many have asked for it.
    """

    __slots__ = ("_at", "_base", "_cells", "_row", "_seat", "name", "own", "users")

    def __init__(self, seat: Seat, name: str, row: int | None) -> None:
        self.name = name
        self.own = self.users = 0
        self._seat = seat
        self._row = row
        self._base = (row or 0) * COLUMNS
        self._at = self._base + seat.column
        self._cells = _apart() if row is None else seat.board._cells

    def set(self, value: int) -> None:
        """Make it another number."""
        self.own = self._cells[self._at] = value

    def add(self, change: int) -> None:
        """Make it so much more, or less."""
        self.own = self._cells[self._at] = self.own + change

    def grab(self, limit: int) -> bool:
        """Make it one more, unless all would then have more than `limit` together."""
        self.add(1)
        if self._seat.peers and self.all() > limit:  # another process has done so at this moment
            self.add(-1)
            return False
        return True

    def all(self) -> int:
        """The sum of those of all processes."""
        base, cells, total = self._base, self._cells, self.own
        for peer in self._seat.peers:
            total += cells[base + peer]
        return total

    def others(self) -> list[tuple[int, int]]:
        """The numbers of the other processes that are not 0, each with its column."""
        base, cells = self._base, self._cells
        numbers = ((cells[base + peer], peer) for peer in self._seat.peers)
        return [(number, peer) for number, peer in numbers if number]

    def detach(self) -> None:
        """Let go of the row; what is counted from here on, nobody else sees."""
        if self._row is not None:
            self._seat.board._free(self._row, self._seat.column)
        self._row, self._cells = None, _apart()
        self._base, self._at = 0, self._seat.column


def row_key(name: str) -> bytes:
    """What a row of that name is known by."""
    return hashlib.blake2b(name.encode(), digest_size=_KEY).digest()


def _apart() -> memoryview:
    """A row outside the table."""
    return memoryview(bytearray(COLUMNS * _WORD)).cast("q")


def _bell() -> tuple[int, int]:
    ends = os.pipe()
    for end in ends:
        os.set_blocking(end, False)
    return ends


def _anonymous_file() -> int:
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("modelyard-gateway")
        os.ftruncate(fd, _SIZE)
        return fd
    with tempfile.TemporaryFile() as file:
        file.write(bytes(_SIZE))  # not only made so long: a full disk is to be noticed here
        file.flush()
        return os.dup(file.fileno())
