"""Prints log streams as data: text for people, one JSON object a line for programs."""

from __future__ import annotations

from collections.abc import Iterable

from modelyard.cli import output
from modelyard.domain.operation import LogLine


def show(lines: Iterable[LogLine], form: output.Format) -> bool:
    """Print every line as it comes; whether there was any."""
    line = None
    for line in lines:
        if form is output.Format.JSON:
            output.data_json_line(line.model_dump(mode="json"))
        else:
            source = f"{line.source}  " if line.source else ""
            request = f"request {line.request}: " if line.request else ""
            output.data(f"{output.cell(line.time)}  {source}{request}{line.text}")
    return line is not None
