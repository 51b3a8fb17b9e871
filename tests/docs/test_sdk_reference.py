"""The page of the SDK says what its docstrings say now, and leaves nothing out."""

from __future__ import annotations

from scripts import sdk_reference

import modelyard


def test_page_is_current() -> None:
    assert sdk_reference.PAGE.read_text() == sdk_reference.page(), (
        "run: python scripts/sdk_reference.py"
    )


def test_every_method_of_the_client_is_there() -> None:
    page = sdk_reference.PAGE.read_text()
    methods = [name for name in vars(modelyard.Client) if not name.startswith("_")]
    for name in {*methods} - {"url"}:
        assert f"### yard.{name}\n" in page
