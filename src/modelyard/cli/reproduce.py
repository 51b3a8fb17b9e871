"""`modelyard reproduce`: make one captured prediction once more, by the image that made it."""

from __future__ import annotations

from typing import Annotated

import typer

from modelyard.cli import output, parameters, progress, session
from modelyard.domain.reproduction import Reproduction

app = parameters.commands()


@app.command()
def reproduce(
    prediction: Annotated[
        str,
        typer.Argument(
            help="Id of the prediction: `x-prediction-id` of its answer.", metavar="PREDICTION"
        ),
    ],
    runs: Annotated[
        int, typer.Option(help="How often the image is asked.", min=1, max=100, metavar="N")
    ] = 3,
    absolute: parameters.Absolute = 1e-5,
    relative: parameters.Relative = 1e-4,
    ignore: parameters.Ignore = None,
    form: output.Output = output.Format.TABLE,
) -> None:
    """Make one captured prediction once more, by its own image.

    Says whether it answers as it did, what differs, and why it may. The exit status is 0 when it
    does, else 1.
    """
    with session.client() as yard, progress.few_lines() as on_log:
        found = yard.replays.reproduce(
            prediction,
            runs=runs,
            absolute=absolute,
            relative=relative,
            ignore=ignore or (),
            on_log=on_log,
        )
    if form is output.Format.JSON:
        output.data_json(found.model_dump(mode="json"))
    else:
        _show(found)
    if not found.equal:
        raise typer.Exit(1)


def _show(found: Reproduction) -> None:
    output.fields(
        [
            ("prediction", found.prediction_id),
            ("answered", found.time),
            ("service", found.service),
            ("image", f"{found.image} ({found.digest})"),
            ("before", f"{found.status_before}: {found.before}"),
            ("now", f"{found.status_after or 'no answer'}: {found.after}"),
            ("runs", found.runs),
            ("of them otherwise", found.other or None),
            *(("note", reason) for reason in found.reasons),
        ]
    )
    output.data("")
    output.data(found.verdict)
