from __future__ import annotations

import pytest

from modelyard.cli import blocks


@pytest.mark.parametrize(("cores", "label"), [(0.0031, "0.0031"), (0.25, "0.25"), (0.0, "0")])
def test_few_cores_never_look_like_none(cores: float, label: str) -> None:
    (shown,) = [text for title, _, text in blocks._CHARTS if title == "cores"]
    assert shown(cores) == label
