"""`modelyard profile`: measure an image under load, and say what a service of it needs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from modelyard.cli import curve, output, parameters, progress, session
from modelyard.domain.profile import Level, Profile, doubts, milliseconds
from modelyard.domain.values import size_text

app = parameters.commands()


@app.command()
def profile(
    image: parameters.ImageReference,
    sample: parameters.Sample = None,
    latency: Annotated[
        str | None, typer.Option(help="Goal for 95 of 100 answers, `50ms`.", metavar="TIME")
    ] = None,
    rate: Annotated[
        float | None, typer.Option(help="Goal in requests per second.", metavar="N")
    ] = None,
    cpu: Annotated[float, typer.Option(help="Cores of the replica.", metavar="N")] = 1.0,
    duration: Annotated[
        str, typer.Option(help="How long each level is measured.", metavar="TIME")
    ] = "2s",
    max_concurrency: Annotated[
        int, typer.Option(help="Most requests in flight that are tried.", metavar="N")
    ] = 64,
    network: parameters.Network = None,
    plot: Annotated[
        Path | None,
        typer.Option(help="Draw the curve into this `.svg` or `.html` file.", metavar="FILE"),
    ] = None,
    form: output.Output = output.Format.TABLE,
) -> None:
    """Measure an image under load, and say what it needs.

    One replica gets the sample with 1, 2, 4, … requests in flight, until more does not help.
    Without --sample it gets what the check of the image scored.
    """
    if plot is not None:
        _check_plot(plot)
    body = parameters.json_value(sample)
    with session.client() as yard:
        found = yard.images.profile(
            image,
            sample=body,
            latency=latency,
            rate=rate,
            cpu=cpu,
            duration=duration,
            max_concurrency=max_concurrency,
            network=network or "none",
            on_log=progress.log_line,
        )
    if form is output.Format.JSON:
        output.data_json(found.model_dump(mode="json"))
    else:
        _show(found)
    if plot is not None:
        output.write_file(plot, curve.WRITERS[plot.suffix](found))


def _check_plot(path: Path) -> None:
    """Refuse, before anything is measured, a file that cannot be drawn or has no folder."""
    if path.suffix not in curve.WRITERS:
        raise typer.BadParameter("name a `.svg` or `.html` file", param_hint="--plot")
    parameters.check_place(path, "--plot")


def _show(found: Profile) -> None:
    columns = ("IN FLIGHT", "PER SECOND", "P50", "P95", "P99", "CPU EACH", "MEMORY", "ERRORS")
    output.table(columns, [_row(level) for level in found.levels])
    output.data("")
    output.data(curve.as_text(found))
    output.data("")
    advice = found.recommendation
    output.fields(
        [
            ("replicas", advice.replicas),
            ("max_concurrent_requests", advice.max_concurrent_requests),
            ("because", advice.reason),
            ("measured on", f"{found.machine.platform}, {found.machine.cores} cores"),
            *(("note", doubt) for doubt in doubts(found.machine, found.levels)),
        ]
    )


def _row(level: Level) -> list[output.Cell]:
    return [
        level.concurrency,
        f"{level.rate:.0f}",
        milliseconds(level.p50),
        milliseconds(level.p95),
        milliseconds(level.p99),
        milliseconds(level.cpu),
        size_text(level.memory),
        level.errors,
    ]
