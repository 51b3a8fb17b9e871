"""`modelyard top`."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from modelyard.cli import output, parameters, session
from modelyard.client import Client
from modelyard.domain.profile import milliseconds
from modelyard.domain.telemetry import Load, ServiceLoad
from modelyard.domain.values import size_text

app = parameters.commands()

_EVERY = 2.0  # seconds between two looks
COLUMNS = (
    *("READY", "REQ/S", "5XX/S", "4XX/S", "P50", "P99"),
    *("IN FLIGHT", "CPU", "MEMORY"),
)
"""What is told of a load."""


@app.command()
def top(form: output.Output = output.Format.TABLE) -> None:
    """Show how every service is used now.

    Figures are averages of the last ten seconds. On a terminal the table is renewed every two
    seconds until Ctrl-C; elsewhere it is printed once.
    """
    with session.client() as yard:
        if form is output.Format.JSON:
            output.data_json([load.model_dump(mode="json") for load in yard.services.top()])
        elif _is_live():
            _follow(yard)
        else:
            output.table(("SERVICE", *COLUMNS), map(_row, yard.services.top()))


def cells(load: Load) -> list[output.Cell]:
    """A load as it stands in a table."""
    return [
        f"{load.ready:.0f}/{load.replicas:.0f}",
        rate(load.requests),
        rate(load.errors),
        rate(load.refused),
        *("" if q is None else milliseconds(q) for q in (load.p50, load.p99)),
        f"{load.in_flight:.0f}",
        f"{load.cpu:.2f}",
        size_text(round(load.memory)),
    ]


def _row(load: ServiceLoad) -> list[output.Cell]:
    ready, *others = cells(load)
    return [load.service, "asleep" if load.asleep else ready, *others]


def rate(value: float) -> str:
    """Requests a second, for people; few of them never look like none."""
    if 0 < value < 0.1:
        return f"{value:.{1 - math.floor(math.log10(value))}f}"
    return f"{value:.0f}" if value >= 10 or not value else f"{value:.1f}"


def _is_live() -> bool:
    return sys.stdout.isatty()


def _follow(yard: Client) -> None:
    with Live(console=Console(), auto_refresh=False, screen=True) as live:
        while True:
            live.update(_table(yard.services.top()), refresh=True)
            time.sleep(_EVERY)


def _table(loads: Sequence[ServiceLoad]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, title in enumerate(("SERVICE", *COLUMNS)):
        table.add_column(title, justify="right" if number else "left", no_wrap=bool(number))
    for load in loads:
        style = "red" if load.errors else ""
        table.add_row(*(Text(output.cell(cell), style=style) for cell in _row(load)))
    return table
