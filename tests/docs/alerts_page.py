"""The receiver that the guide on alerts shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tests.docs.pages import BLOCK, ROOT

PAGE = ROOT / "docs" / "guides" / "alerts.md"


def verifier(secret: str) -> Callable[[Mapping[str, str], bytes], bool]:
    """The receiver that the guide shows, with this secret."""
    [program] = [text for language, text in BLOCK.findall(PAGE.read_text()) if language == "python"]
    names: dict[str, Any] = {}
    exec(program.replace("whsec_...", secret), names)
    is_genuine: Callable[[Mapping[str, str], bytes], bool] = names["is_genuine"]
    return is_genuine
