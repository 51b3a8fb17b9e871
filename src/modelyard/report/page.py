"""The frame of a page, and its tables. Whatever text comes in is escaped here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

_STYLE = (
    "body{font:16px/1.4 system-ui,sans-serif;color:#222;max-width:64rem;margin:2rem auto;"
    "padding:0 1rem}h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}"
    "table{border-collapse:collapse}td,th{padding:.2rem .8rem;text-align:right;"
    "border-bottom:1px solid #ddd}td:first-child,th:first-child{text-align:left}"
    ".wide{overflow-x:auto}.bad{color:#c0392b;font-weight:600}.faint{color:#666}svg{max-width:100%}"
)


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def page(title: str, *parts: Markup) -> str:
    """A whole page with a heading."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n"
        f"<body><h1>{escape(title)}</h1>\n" + "\n".join(parts) + "\n</body></html>\n"
    )


def heading(text: str) -> Markup:
    """The heading of a section."""
    return Markup(f"<h2>{escape(text)}</h2>")


def paragraph(text: str, kind: str = "") -> Markup:
    """A paragraph; of a kind `bad` or `faint`, or of none."""
    mark = f' class="{escape(kind)}"' if kind else ""
    return Markup(f"<p{mark}>{escape(text)}</p>")


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Markup:
    """A table; of its cells those that are `Markup` stay as they are."""
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "\n".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in rows)
    return Markup(f'<div class="wide"><table><tr>{head}</tr>\n{body}</table></div>')


def _cell(text: str) -> str:
    return f"<td>{text if isinstance(text, Markup) else escape(text)}</td>"
