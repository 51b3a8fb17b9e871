"""A deploy of a project of the usual kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from modelyard.client import Client, Deployed


def deploy(yard: Client, project: Path, **changes: Any) -> Deployed:
    options: dict[str, Any] = {
        "model": project / "model.pkl",
        "script": project / "score.py",
        "requirements": project / "requirements.txt",
    }
    return yard.deploy("digits", **options | changes)
