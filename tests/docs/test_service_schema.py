"""The service file's schema and page are what the code accepts now."""

from __future__ import annotations

import json

import pytest
from scripts import service_file_reference

from modelyard.domain.service_file import parse_service_file


@pytest.mark.parametrize("name", service_file_reference.PAGES)
def test_file_is_current(name: str) -> None:
    written = (service_file_reference.REFERENCE / name).read_text()
    assert written == service_file_reference.PAGES[name](), (
        "run: python scripts/service_file_reference.py"
    )


def test_the_example_is_a_service_file() -> None:
    file = parse_service_file(service_file_reference.EXAMPLE, "example")
    assert file.settings.memory == 1 << 30


def test_schema_accepts_units_and_short_forms() -> None:
    schema = json.loads(service_file_reference.schema())
    settings = schema["$defs"]["ServiceSettings"]["properties"]
    for name in ("memory", "scoring_timeout", "startup_timeout", "max_queue_wait"):
        assert "string" in [option["type"] for option in settings[name]["anyOf"]]
    model = schema["properties"]["model"]["anyOf"]
    assert {"type": "string"} in model
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["name"]
