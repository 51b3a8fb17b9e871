"""`python -m bench.gateway.report docs/reference/benchmarks.md`: the tables of what is remembered.

Replaces what lies between the two marks of a page.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.__main__ import reached
from bench.gateway import PARTS
from bench.gateway.results import read

_BEGIN, _END = "<!-- gateway begin -->\n", "<!-- gateway end -->\n"
TITLES = {
    "cost": "CPU of a request",
    "throughput": "Throughput",
    "slow_replica": "A slow replica",
    "slow_clients": "Slow clients",
    "credentials": "Keys and certificates",
    "tls": "TLS",
    "updates": "Updates and restarts",
    "kills": "Kills",
    "scale": "Scaling",
}


def main(page: Path) -> None:
    """Write them."""
    head, _, rest = page.read_text().partition(_BEGIN)
    _, _, tail = rest.partition(_END)
    results = read()
    text = "\n".join("".join(_section(name, results[name])) for name in PARTS if name in results)
    page.write_text(f"{head}{_BEGIN}{text}{_END}{tail}")


def _section(name: str, result: dict[str, Any]) -> Iterator[str]:
    yield f"### {TITLES[name]}\n\n"
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
    main(Path(sys.argv[1]))
