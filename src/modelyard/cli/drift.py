"""`modelyard service drift` and `service baseline`: has the traffic changed?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from modelyard.cli import drift_page, output, parameters, session
from modelyard.domain.drift import DriftReport, FeatureDrift, Sample, in_words

Times = tuple[datetime, datetime]
"""From one time until before another."""
Model = Annotated[
    str | None,
    typer.Option("--model", help="Version of the model, such as `iris:4`.", metavar="REF"),
]


def drift(
    name: parameters.ServiceName,
    last: Annotated[str, typer.Option(help="How far back to look, `7d`.", metavar="TIME")] = "24h",
    window: Annotated[
        str | None,
        typer.Option(
            help="Look at this time instead, `2026-11-08..2026-11-14`, both days included.",
            metavar="TIMES",
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            help="Compare with this time, `2026-11-01..2026-11-07`, likewise.", metavar="TIMES"
        ),
    ] = None,
    model: Model = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write a page with plots.", metavar="FILE")
    ] = None,
    fail: Annotated[
        bool, typer.Option("--fail", help="Exit 1 when a feature has drifted.")
    ] = False,
    form: output.Output = output.Format.TABLE,
) -> None:
    """Find what has changed in the traffic of a service.

    Inputs and answers are compared with a baseline, feature by feature: what `service baseline`
    has set, else the first day of the model version. It needs capture. Of 100 reports about
    unchanged traffic one names a feature, at most.
    """
    parameters.check_place(html, "--html")
    seconds = parameters.seconds(last)
    looked_at, beside = _times(window, "--window"), _times(against, "--against")
    with session.client() as yard:
        report = yard.services.drift(
            name,
            last=seconds,
            window=looked_at,
            against=beside,
            model=model,
        )
    if html is not None:
        output.write_file(html, drift_page.as_html(report))
    if form is output.Format.JSON:
        output.data_json(report.model_dump(mode="json"))
    else:
        _show(report)
    if fail and report.drifted:
        raise typer.Exit(1)


def baseline(
    name: parameters.ServiceName,
    file: Annotated[
        Path, typer.Argument(help="`.csv` or `.parquet`, a column for each input.", metavar="FILE")
    ],
    answer: Annotated[
        str | None,
        typer.Option(help="Column that is the model's answer.", metavar="COLUMN"),
    ] = None,
    model: Model = None,
    form: output.Output = output.Format.TABLE,
) -> None:
    """Set what a model was made for, such as its training data.

    What is kept of it are distributions, a few kilobytes for each column.
    """
    with session.client() as yard:
        found = yard.services.set_baseline(name, file, answer=answer, model=model)
    if form is output.Format.JSON:
        output.data_json(found.model_dump(mode="json"))
    else:
        output.fields(
            [
                ("model", found.model),
                ("rows", found.rows),
                ("features", ", ".join(found.features)),
            ]
        )
    if found.warning:
        output.say(found.warning)


def _show(report: DriftReport) -> None:
    columns = ("FEATURE", "VERDICT", "MISSING", "OUT OF RANGE", "NEW", "PSI", "KS", "W1/SD", "JS")
    output.table((*columns, "BECAUSE"), map(_row, report.features), sentence="BECAUSE")
    output.say(f"{report.model}: {_words(report.window)} beside {_words(report.baseline)}")
    if report.not_in_baseline:
        output.say(f"not in the baseline: {', '.join(report.not_in_baseline)}")
    if report.waiting:
        output.say(f"{report.waiting} files of records have come in and are not in it yet")
    named = ", ".join(report.drifted)
    output.say(f"drifted: {named}" if named else "nothing has drifted")


def _row(feature: FeatureDrift) -> list[output.Cell]:
    figures = (feature.psi, feature.ks, feature.wasserstein, feature.js)
    return [
        feature.name,
        feature.verdict,
        f"{feature.window.missing:.1%}",
        *(drift_page.percent(value) for value in (feature.out_of_range, feature.new)),
        *("" if value is None else f"{value:.3f}" for value in figures),
        in_words(feature),
    ]


def _words(sample: Sample) -> str:
    if sample.since is None or sample.until is None:
        return f"{sample.rows} rows of a file"
    return (
        f"{sample.rows} rows of {sample.since:%Y-%m-%d %H:%M} to {sample.until:%Y-%m-%d %H:%M} UTC"
    )


def _times(text: str | None, option: str) -> Times | None:
    """`A..B`; a day as the end is in it; without a zone it is of this machine."""
    if text is None:
        return None
    first, dots, last = text.partition("..")
    try:
        if not dots:
            raise ValueError
        begins = datetime.fromisoformat(first).astimezone(UTC)
        ends = datetime.fromisoformat(last).astimezone(UTC)
    except ValueError:
        raise typer.BadParameter(
            f"`{text}` is no time with two ends: write it as `2026-11-01..2026-11-07`",
            param_hint=option,
        ) from None
    is_day = len(last) == len("2026-11-07")
    if ends < begins or (ends == begins and not is_day):
        raise typer.BadParameter(
            f"{last} is not after {first}: name the earlier time first", param_hint=option
        )
    return begins, ends + timedelta(days=1) if is_day else ends
