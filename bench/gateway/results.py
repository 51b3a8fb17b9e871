"""What the parts showed the last time, in a file of the bench's cache folder."""

from __future__ import annotations

import json
import os
import platform
import time
from pathlib import Path
from typing import Any

from bench.runtime.environments import cache


def path() -> Path:
    """The file: a JSON object by part."""
    return cache() / "gateway.json"


def keep(part: str, figures: list[dict[str, Any]]) -> None:
    """Remember a part's figures, and what machine they are of."""
    results = read()
    results[part] = {
        "when": time.strftime("%Y-%m-%d %H:%M"),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load": os.getloadavg()[0],
        "figures": figures,
    }
    path().parent.mkdir(parents=True, exist_ok=True)
    path().write_text(json.dumps(results, indent=1))


def read() -> dict[str, Any]:
    """Everything that is remembered."""
    return dict(json.loads(path().read_bytes())) if path().exists() else {}
