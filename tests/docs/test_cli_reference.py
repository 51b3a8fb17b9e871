"""The page of the command line says what the commands say now."""

from __future__ import annotations

from scripts import cli_reference


def test_page_is_current() -> None:
    assert cli_reference.PAGE.read_text() == cli_reference.page(), (
        "run: python scripts/cli_reference.py"
    )
