"""`python -m bench._report gateway docs/reference/benchmarks.md`: the tables of what is remembered.

Replaces what lies between the two marks of a bench in a page.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from bench.__main__ import reached
from bench._results import read


def main(bench: str, page: Path) -> None:
    """Write them."""
    begin, end = f"<!-- {bench} begin -->\n", f"<!-- {bench} end -->\n"
    head, _, rest = page.read_text().partition(begin)
    _, _, tail = rest.partition(end)
    results, parts = read(bench), import_module(f"bench.{bench}").PARTS
    sections = (_section(title, results[name]) for name, title in parts.items() if name in results)
    text = "\n".join("".join(section) for section in sections)
    page.write_text(f"{head}{begin}{text}{end}{tail}")


def _section(title: str, result: dict[str, Any]) -> Iterator[str]:
    yield f"### {title}\n\n"
    yield f"{result['when']}, {result['cores']} cores, Python {result['python']}, "
    yield f"load {result['load']:.1f}\n\n"
    yield "| figure | value | goal | |\n| --- | ---: | --- | --- |\n"
    for figure in result["figures"]:
        goal = figure["goal"]
        verdict = "" if not goal else "reached" if reached(figure["value"], goal) else "**missed**"
        value = f"{_short(figure['value'])} {figure['unit']}"
        yield f"| {figure['figure']} | {value} | {goal} | {verdict} |\n"


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
