"""What the parts of a bench showed the last time, in a file of the bench's cache folder."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from bench.runtime.environments import cache


def run_parts(bench: str, parts: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The figures of the parts that `BENCH_PARTS` names, or of all; each part's are remembered."""
    asked = os.environ.get("BENCH_PARTS", ",".join(parts)).split(",")
    if unknown := set(asked) - set(parts):
        sys.exit(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(parts)}")
    for name in asked:
        figures = []
        for figure in import_module(f"bench.{bench}.{name}").run():
            figures.append(figure)
            yield figure
        _keep(bench, name, figures)


def read(bench: str) -> dict[str, Any]:
    """Everything that is remembered, by part."""
    path = _path(bench)
    return dict(json.loads(path.read_bytes())) if path.exists() else {}


def _keep(bench: str, part: str, figures: list[dict[str, Any]]) -> None:
    results = read(bench)
    results[part] = {
        "when": time.strftime("%Y-%m-%d %H:%M"),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load": os.getloadavg()[0],
        "figures": figures,
    }
    path = _path(bench)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1))


def _path(bench: str) -> Path:
    return cache() / f"{bench}.json"
