"""`make bench`, `make bench ONLY=registry`: one JSON object a line, then a table for people."""

from __future__ import annotations

import importlib
import json
import sys
from pkgutil import iter_modules
from typing import Any

from rich.console import Console
from rich.table import Table

import bench

MODULES = sorted(
    module.name for module in iter_modules(bench.__path__) if not module.name.startswith("_")
)


def reached(value: float, goal: str) -> bool:
    """Whether a value satisfies a goal such as `<= 1.5`."""
    relation, _, bound = goal.partition(" ")
    return value <= float(bound) if relation == "<=" else value >= float(bound)


def show(figures: list[dict[str, Any]]) -> None:
    """The table for people."""
    table = Table("figure", "value", "unit", "goal", "")
    for figure in figures:
        goal = figure["goal"] or ""
        mark = "" if not goal else "reached" if reached(figure["value"], goal) else "missed"
        table.add_row(figure["figure"], f"{figure['value']:.4g}", figure["unit"], goal, mark)
    Console().print(table)


def main(only: list[str]) -> None:
    """Run the modules named, or all."""
    unknown = set(only) - set(MODULES)
    if unknown:
        sys.exit(f"no such module: {', '.join(sorted(unknown))}; there are {', '.join(MODULES)}")
    figures: list[dict[str, Any]] = []
    for name in only or MODULES:
        for figure in importlib.import_module(f"bench.{name}").run():
            print(json.dumps(figure), flush=True)
            figures.append(figure)
    show(figures)


if __name__ == "__main__":
    main(sys.argv[1:])
