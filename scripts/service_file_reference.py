"""Writes the reference of the service file: `service.schema.json` and `service.yaml.md`.

`python scripts/service_file_reference.py` writes them; a test fails when one is not what this would
write.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from modelyard.domain.build import BuildOptions
from modelyard.domain.difference import Tolerance
from modelyard.domain.replay import ReplayGate
from modelyard.domain.rollout import Canary
from modelyard.domain.service import ServiceSettings
from modelyard.domain.service_file import ModelSource, ServiceFile
from modelyard.domain.values import Spec

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"
EXAMPLE = """\
# yaml-language-server: $schema=service.schema.json
name: digits
model: model.pkl
script: score.py
requirements: requirements.txt
sample: [[0, 0, 5, 13]]
settings:
  replicas: 2
  memory: 1GiB
  scoring_timeout: 10s
tags:
  team: vision
"""
INTRODUCTION = f"""\
# service.yaml

Everything that `modelyard deploy -f service.yaml` needs, in one document. Paths are relative to the
file. Its JSON Schema is [service.schema.json](service.schema.json); editors that know it complete
and check the file.

```yaml
{EXAMPLE}```

Run again it changes only what differs: a model whose files differ from its latest version is
registered, an image whose inputs differ is built, a service that differs is updated. What the file
does not say stays as it is. `--plan` shows what would be done.

With `split` in place of model and script, the service runs images that are built already, side by
side: see [updates](../concepts/updates.md#from-python-a-service-file-and-rest).
"""
SECTIONS: dict[str, tuple[type[Spec], str]] = {
    "Fields": (ServiceFile, ""),
    "A model": (
        ModelSource,
        "The long form of `model` and of each of `models`. The short form is a text: `iris:3` is a "
        "registered version, anything else a path.",
    ),
    "Build": (BuildOptions, "What is not written here is as it is by default."),
    "Settings": (ServiceSettings, ""),
    "A canary": (Canary, "See [updates](../concepts/updates.md#canary)."),
    "A replay": (ReplayGate, "See [replay](../guides/replay.md#as-a-gate)."),
    "A tolerance": (Tolerance, ""),
}


_NAMED = {
    "Authentication": "text",
    "BuildOptions": "build",
    "Canary": "a canary",
    "JsonValue": "any JSON",
    "ModelSource": "a model",
    "Choice": "text",
    "Network": "text",
    "ReplayGate": "a replay",
    "ServiceSettings": "settings",
    "Tolerance": "a tolerance",
    "WhenFull": "text",
}
_TYPES = {
    "boolean": "true or false",
    "integer": "integer",
    "number": "number",
    "object": "keys and values",
    "string": "text",
}


def schema() -> str:
    """The JSON Schema."""
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **ServiceFile.model_json_schema(),
        "title": "Modelyard service file",
    }
    return json.dumps(document, indent=2) + "\n"


def page() -> str:
    """The page for people."""
    parts = [INTRODUCTION]
    for title, (spec, text) in SECTIONS.items():
        table = "\n".join(_table(spec))
        parts.append("\n\n".join(filter(None, (f"## {title}", text, table))) + "\n")
    return "\n".join(parts)


def _table(spec: type[Spec]) -> Iterator[str]:
    document = spec.model_json_schema()
    yield "| field | value | default | meaning |"
    yield "|---|---|---|---|"
    for name, field in document["properties"].items():
        needed = name in document.get("required", ())
        default = "needed" if needed else _default(field)
        meaning = " ".join(field.get("description", "").split()).replace("|", "\\|")
        yield f"| `{name}` | {_value(field)} | {default} | {meaning} |"


def _default(field: dict[str, Any]) -> str:
    value = field.get("default")
    has_own_table = isinstance(value, dict)
    return "" if has_own_table or value in (None, "", []) else f"`{json.dumps(value)}`"


def _value(field: dict[str, Any]) -> str:
    if "$ref" in field:
        return _NAMED[field["$ref"].rsplit("/", 1)[1]]
    if "anyOf" in field:
        options = [_value(option) for option in field["anyOf"] if option.get("type") != "null"]
        return " or ".join(dict.fromkeys(options))
    if field.get("type") == "array":
        return f"list of {_value(field['items'])}"
    return _TYPES[field["type"]]


PAGES: dict[str, Callable[[], str]] = {"service.schema.json": schema, "service.yaml.md": page}
"""Every generated file and what writes it."""


def main() -> None:
    """Write every file."""
    for name, make in PAGES.items():
        (REFERENCE / name).write_text(make())
        sys.stdout.write(f"wrote {name}\n")


if __name__ == "__main__":
    main()
