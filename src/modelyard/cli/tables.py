"""How columns of text become lines: as wide as they are, or within the width of a terminal."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from rich.cells import cell_len, set_cell_size

_GAP = 2
"""Spaces between columns."""
_LEAST_ROOM = 32
"""A sentence that has less room beside its row goes below it."""
_LEAST_CUT = 8
"""No cell is cut to less; where that is too wide, each row becomes a list."""
_INDENT = 4
"""Spaces before what stands below a row."""


def aligned(rows: Sequence[Sequence[str]], gap: int = _GAP) -> list[str]:
    """Each row as one line; all columns as wide as their widest cell."""
    widths = _widths(rows)
    return [
        (" " * gap)
        .join(
            text + " " * (width - cell_len(text)) for text, width in zip(row, widths, strict=True)
        )
        .rstrip()
        for row in rows
    ]


def fits(rows: Sequence[Sequence[str]], width: int, gap: int = _GAP) -> bool:
    """Whether no line of these columns is wider."""
    return _total(_widths(rows), gap) <= width


def fitted(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    width: int,
    *,
    sentence: str | None = None,
    cut: Collection[str] = (),
) -> Iterator[str]:
    """Lines that keep within a width, as far as whole words and numbers let them.

    Args:
        columns: Titles.
        rows: The cells, as they would stand in wide columns.
        width: Characters of a line.
        sentence: Title of the column whose text may go on several lines.
        cut: Titles of columns whose text may be cut off; no information that others need.
    """
    table = [list(columns), *map(list, rows)]
    if fits(table, width):
        yield from aligned(table)
    elif cut:
        yield from _cut_off(table, width, cut)
    elif sentence is not None:
        yield from _with_sentence(table, width, columns.index(sentence))
    else:
        yield from _narrow(table, width)


def wrapped(text: str, width: int | None) -> list[str]:
    """The text on several lines of whole words; a word that is wider has a line of its own.

    None is a line without an end.
    """
    if width is None or cell_len(text) <= width:
        return [text]
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if lines[-1] and cell_len(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def below(text: str, width: int | None) -> list[str]:
    """Lines of a text that stands below its row."""
    room = None if width is None else width - _INDENT
    return [" " * _INDENT + line for line in wrapped(text, room)] if text else []


def shortened(text: str, width: int) -> str:
    """The text, or its beginning and `…`."""
    return text if cell_len(text) <= width else f"{set_cell_size(text, width - 1).rstrip()}…"


def _with_sentence(table: list[list[str]], width: int, at: int) -> Iterator[str]:
    """The sentence beside its row when it is the last column and there is room, else below."""
    others = [[*row[:at], *row[at + 1 :]] for row in table]
    room = width - _total(_widths(others), _GAP) - _GAP
    if at < len(table[0]) - 1 or room < _LEAST_ROOM:
        lines = _narrow(others, width)
        titles = len(lines) - len(table) + 1
        yield from lines[:titles]
        for line, row in zip(lines[titles:], table[1:], strict=True):
            yield line
            yield from below(row[at], width)
        return
    beside: list[list[str]] = []
    for row in table:
        first, *further = wrapped(row[at], room)
        beside.append([*row[:at], first])
        beside.extend([*[""] * at, part] for part in further)
    yield from aligned(beside)


def _narrow(table: list[list[str]], width: int) -> list[str]:
    """With less between columns, and titles of several words above each other."""
    if fits(table, width):
        return aligned(table)
    if fits(table, width, gap=1):
        return aligned(table, gap=1)
    titles = [title.split(" ") for title in table[0]]
    most = max(map(len, titles))
    above = [[([""] * (most - len(words)) + words)[n] for words in titles] for n in range(most)]
    return aligned([*above, *table[1:]], gap=1)


def _cut_off(table: list[list[str]], width: int, cut: Collection[str]) -> Iterator[str]:
    may_cut = [title in cut for title in table[0]]
    widths = [min(w, width) if m else w for w, m in zip(_widths(table), may_cut, strict=True)]
    least = [min(w, _LEAST_CUT) if m else w for w, m in zip(widths, may_cut, strict=True)]
    if _total(least, _GAP) > width and all(may_cut):
        yield from _lists(table, width)
        return
    if _total(least, _GAP) > width:
        widths = least
    while _total(widths, _GAP) > width and widths != least:
        able = [n for n, low in enumerate(least) if widths[n] > low]
        widths[max(able, key=widths.__getitem__)] -= 1
    short = [[shortened(text, w) for text, w in zip(row, widths, strict=True)] for row in table]
    yield from _narrow(short, width)


def _lists(table: list[list[str]], width: int) -> Iterator[str]:
    """Each row as names and values below each other, with an empty line between rows."""
    titles, *rows = table
    names = max(map(cell_len, titles))
    for number, row in enumerate(rows):
        if number:
            yield ""
        for line in aligned([list(pair) for pair in zip(titles, row, strict=True) if pair[1]]):
            yield shortened(line, max(width, names + _GAP + _LEAST_CUT))


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(cell_len, column)) for column in zip(*rows, strict=True)]


def _total(widths: Sequence[int], gap: int) -> int:
    return sum(widths) + gap * (len(widths) - 1)
