"""`modelyard service feedback` and `modelyard service quality`: what was true, and how often."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from modelyard.cli import figures, output, parameters, session
from modelyard.domain.quality import MeasuredQuality, Period, Quality, Task


def tell(
    name: parameters.ServiceName,
    prediction_id: Annotated[
        str | None, typer.Argument(help="The answer's `x-prediction-id`.", metavar="ID")
    ] = None,
    truth: Annotated[
        str | None,
        typer.Argument(help="JSON, or else a text; a list has one for each row.", metavar="TRUTH"),
    ] = None,
    row: Annotated[
        int | None, typer.Option(help="Of the request, from 0: the truth is of this.", min=0)
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            help="Truths in a .csv, .jsonl or .parquet: `prediction_id`, `truth`, maybe `row`.",
            metavar="FILE",
        ),
    ] = None,
    certificate: Annotated[
        Path | None,
        typer.Option(help="PEM file with a client certificate and its key.", metavar="FILE"),
    ] = None,
    form: output.Output = output.Format.TABLE,
) -> None:
    """Tell what turned out to be true of answers, at any time.

    What was told before of the same row is replaced.
    """
    if file is not None and prediction_id is not None:
        raise typer.BadParameter("give either a prediction id and a truth, or --file, not both")
    one = prediction_id is not None and truth is not None
    if one == (file is not None) or (prediction_id is None) != (truth is None):
        raise parameters.nothing_given("give a prediction id and a truth, or --file")
    with session.client() as yard:
        if file is not None:
            stored = yard.services.feedback_all(name, file, certificate=certificate)
        else:
            assert prediction_id is not None
            assert truth is not None
            stored = yard.services.feedback(
                name, prediction_id, _value(truth), row=row, certificate=certificate
            )
    if form is output.Format.JSON:
        output.data_json({"stored": stored})
    else:
        output.data(f"{stored} stored")


def show_quality(
    name: parameters.ServiceName,
    since: Annotated[
        str | None,
        typer.Option(help="Answers from then on: `7d`, or a time.", metavar="TIME"),
    ] = None,
    until: Annotated[
        str | None, typer.Option(help="Answers before then: `1d` ago, or a time.", metavar="TIME")
    ] = None,
    by: Annotated[Period | None, typer.Option(help="Figures for each `day` or `hour`.")] = None,
    task: Annotated[
        Task | None,
        typer.Option(help="`classification` or `regression`; unset follows from the truths."),
    ] = None,
    value: Annotated[
        str | None,
        typer.Option("--value", help="Which value of an answer is compared.", metavar="NAME"),
    ] = None,
    scores: Annotated[
        str | None,
        typer.Option(help="Which value has the chances of the classes.", metavar="NAME"),
    ] = None,
    form: output.Output = output.Format.TABLE,
) -> None:
    """Show how good answers were, by the truths that were told of them.

    The accuracy has the bounds between which it lies with 95 % confidence: few truths say little.
    """
    with session.client() as yard:
        found = yard.services.quality(
            name,
            since=parameters.moment(since),
            until=parameters.moment(until),
            by=by,
            task=task,
            output=value,
            scores=scores,
        )
    if form is output.Format.JSON:
        output.data_json(found.model_dump(mode="json"))
        return
    _show(found)


def _show(found: Quality) -> None:
    periods = ("FROM (UTC)",) if any(one.period for one in found.measured) else ()
    titles = figures.titles(found.task)
    columns = (*periods, "IMAGE", "MODEL", "ROWS", "LABELLED", *titles)
    if found.measured:
        output.table(columns, [_row(one, found, bool(periods)) for one in found.measured])
    if not any(one.labelled for one in found.measured):
        output.say("no truth was told of answers of that time, or it is on its way")
    if found.unmatched:
        output.say(f"truths of rows that there is no record of: {found.unmatched}")


def _row(one: MeasuredQuality, found: Quality, has_period: bool) -> list[output.Cell]:
    return [
        *([one.period] if has_period else []),
        one.image,
        f"{one.model}:{one.version}",
        one.rows,
        one.labelled,
        *figures.cells(one, found.task),
    ]


def _value(text: str) -> Any:
    """JSON, or else the text."""
    try:
        return json.loads(text)
    except ValueError:
        return text
