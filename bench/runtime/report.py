"""`python -m bench.runtime.report results.json docs/reference`: tables and picture of a run.

Replaces what lies between the two marks of `benchmarks.md` there, and writes `benchmarks.svg`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.__main__ import reached
from bench.runtime.goals import Results, figures
from bench.runtime.measure import Outcome
from bench.runtime.picture import draw
from bench.runtime.workloads import WORKLOADS

_BEGIN, _END = "<!-- results begin -->\n", "<!-- results end -->\n"


def main(results: Path, folder: Path) -> None:
    """Write both."""
    document = json.loads(results.read_text())
    outcomes = [Outcome.from_json(values) for values in document["outcomes"]]
    (folder / "benchmarks.svg").write_text(draw(outcomes))
    page = folder / "benchmarks.md"
    head, _, rest = page.read_text().partition(_BEGIN)
    _, _, tail = rest.partition(_END)
    text = "".join(_sections(document, outcomes))
    page.write_text(f"{head}{_BEGIN}{text}{_END}{tail}")


def _sections(document: dict[str, Any], outcomes: list[Outcome]) -> Iterator[str]:
    yield _how(document)
    yield "\n### Goals\n\n| figure | value | goal | |\n| --- | ---: | --- | --- |\n"
    for figure in [*figures(Results(outcomes)), *document["cold_starts"]]:
        if figure["goal"]:
            verdict = "reached" if reached(figure["value"], figure["goal"]) else "**missed**"
            value = f"{_short(figure['value'])} {figure['unit']}"
            yield f"| {figure['figure']} | {value} | {figure['goal']} | {verdict} |\n"
    for workload in WORKLOADS:
        for count in workload.connections:
            found = [o for o in outcomes if (o.workload, o.connections) == (workload.name, count)]
            if found:
                yield f"\n### {workload.name}: {workload.title}, {count} connections\n\n"
                yield from _table(found)
    if document["absent"]:
        yield "\n### Not measured\n\n"
        for one in document["absent"]:
            yield f"* {one['server']}, {one['workload']}: {one['reason'].splitlines()[0]}\n"


def _how(document: dict[str, Any]) -> str:
    machine = document["machine"]
    return (
        f"Run of {document['when']}: {machine['cores']} cores, Python {machine['python']}, client "
        f"{document['client']}, {document['rounds']} rounds of {document['seconds']:g} s for each "
        "server, medians.\n"
    )


def _table(outcomes: list[Outcome]) -> Iterator[str]:
    yield (
        "| server | CPU, µs a request | requests/s | p50, ms | p99, ms | errors "
        "| cold start, s | memory, MiB |\n| --- |" + " ---: |" * 7 + "\n"
    )
    for one in sorted(outcomes, key=lambda one: one.median("cpu")):
        medians = [_short(one.median(name)) for name in ("cpu", "rate", "p50", "p99")]
        rest = [str(one.errors), f"{one.cold_start:.2f}", f"{one.memory:.0f}"]
        yield f"| {one.server} | {' | '.join(medians + rest)} |\n"


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
