from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.unit.cli.conftest import Run


def test_shows_every_image_and_its_services(run: Run) -> None:
    shown = run("find-package", "jinja2<3.1.4")
    assert [line.split() for line in shown.stdout.splitlines()] == [
        ["IMAGE", "PACKAGE", "SERVICES"],
        ["digits:2", "jinja2", "3.1.3", "a"],
        ["digits:1", "jinja2", "3.1.3", "a"],
    ]
    assert "2 images with jinja2<3.1.4; services: a" in shown.stderr


def test_says_when_there_is_none(run: Run) -> None:
    shown = run("find-package", "numpy")
    assert shown.stdout == ""
    assert "no images with numpy; services: none" in shown.stderr


def test_prints_json(run_json: Callable[..., Any]) -> None:
    assert [use["image"] for use in run_json("find-package", "jinja2<3.1.4")] == [
        "digits:2",
        "digits:1",
    ]
    assert run_json("find-package", "numpy") == []
