"""`modelyard capture …`."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from modelyard.capture.reading import literal
from modelyard.cli import output, parameters, session
from modelyard.cli.listing import show_all
from modelyard.client.captures import ALL
from modelyard.domain.captured import Account, Segment
from modelyard.domain.values import size_text
from modelyard.schemas import CapturedTable

app = parameters.commands()

_MOST_SHOWN = 1000

Service = Annotated[
    str | None, typer.Option("--service", help="Only records of this service.", metavar="SERVICE")
]
Since = Annotated[
    str | None,
    typer.Option(help="Only files with records from then on: `1h`, or a time.", metavar="TIME"),
]
Until = Annotated[
    str | None,
    typer.Option(help="Only files with records before then: `1h` ago, or a time.", metavar="TIME"),
]


@app.command("list")
def list_segments(
    service: Annotated[
        str | None, typer.Argument(help="Name of the service.", metavar="[SERVICE]")
    ] = None,
    since: Since = None,
    until: Until = None,
    form: output.Output = output.Format.TABLE,
) -> None:
    """List files of captured records, oldest first."""
    with session.client() as yard:
        segments = yard.captures.list(
            service, since=parameters.moment(since), until=parameters.moment(until)
        )
    columns = ("SERVICE", "MODEL", "DATE", "FROM", "TO", "RECORDS", "SIZE", "SEGMENT")
    show_all(form, segments, columns, _row, cut={"SEGMENT"})


@app.command()
def query(
    sql: Annotated[
        str,
        typer.Argument(
            help="A SELECT from `requests` or `rows`, or `@file`, or `-`.", metavar="SQL"
        ),
    ],
    service: Service = None,
    since: Since = None,
    until: Until = None,
    to: Annotated[
        Path | None,
        typer.Option(help="Write the answer into this .parquet or .csv file.", metavar="FILE"),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file.")] = False,
    form: output.Output = output.Format.TABLE,
) -> None:
    """Ask about captured requests in SQL.

    `requests` has a row for each answer, `rows` one for each row that was scored, its values in
    columns of their own; `SELECT * FROM requests LIMIT 1` shows their names. A table ends after
    1,000 rows; on a terminal long values are cut, and columns without a value left out.
    """
    text = parameters.content(sql).decode()
    chosen: dict[str, Any] = {
        "service": service,
        "since": parameters.moment(since),
        "until": parameters.moment(until),
    }
    with session.client() as yard:
        if to is not None:
            yard.captures.export(to, text, overwrite=overwrite, **chosen)
            _show_path(to, form)
            return
        most = None if form is output.Format.JSON else _MOST_SHOWN
        answer = yard.captures.query(text, most_rows=most, **chosen)
    if form is output.Format.JSON:
        output.data_json([dict(zip(answer.columns, row, strict=True)) for row in answer.rows])
    else:
        _show_table(answer)


@app.command()
def export(
    to: Annotated[Path, typer.Argument(help="File to write, .parquet or .csv.", metavar="FILE")],
    service: Service = None,
    since: Since = None,
    until: Until = None,
    labelled: Annotated[
        bool, typer.Option("--labelled", help="Rows whose truth was told, with it.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file.")] = False,
    form: output.Output = output.Format.TABLE,
) -> None:
    """Write captured requests into a file, in the order of their answers.

    With --labelled it is rows to train with: inputs, outputs and truth as columns, beside the image
    and the model version that answered.
    """
    with session.client() as yard:
        yard.captures.export(
            to,
            ALL,
            service=service,
            since=parameters.moment(since),
            until=parameters.moment(until),
            labelled=labelled,
            overwrite=overwrite,
        )
    _show_path(to, form)


@app.command()
def verify(
    service: parameters.ServiceName,
    wait: Annotated[
        str, typer.Option(help="How long to wait for what is on its way.", metavar="TIME")
    ] = "30s",
    form: output.Output = output.Format.TABLE,
) -> None:
    """Prove that no record is missing, and exit 1 when one is.

    answered = captured + sampled out + dropped. Every record is read for it.
    """
    with session.client() as yard:
        account = yard.captures.verify(service, wait=parameters.seconds(wait))
    if form is output.Format.JSON:
        output.data_json({**account.model_dump(mode="json"), "holds": account.holds})
    else:
        _show_account(account)
    if not (account.is_final and account.holds):
        raise typer.Exit(1)


@app.command()
def forget(
    service: parameters.ServiceName,
    where: Annotated[
        str,
        typer.Option(
            help="Field and value, `customer_id=7`; of a hashed or encrypted one what it was.",
            metavar="FIELD=VALUE",
        ),
    ],
    yes: parameters.Yes = False,
    form: output.Output = output.Format.TABLE,
) -> None:
    """Delete for ever the records of requests with a value in a field.

    It is looked for in inputs, outputs and what scripts have collected.
    """
    field, is_given, value = where.partition("=")
    if not is_given:
        raise typer.BadParameter("write `FIELD=VALUE`", param_hint="--where")
    parameters.confirm(yes, f"Delete what was recorded of requests to {service} with {where}?")
    with session.client() as yard:
        forgotten = yard.captures.forget(service, field, value)
    if form is output.Format.JSON:
        output.data_json(forgotten.model_dump(mode="json"))
        return
    output.fields(
        [
            ("requests forgotten", forgotten.requests),
            ("records deleted", forgotten.rows),
            ("files written anew", forgotten.segments),
        ]
    )
    if forgotten.waiting:
        output.say("some records are still on their way: run it again when they are here")


def _show_table(answer: CapturedTable) -> None:
    """All of it; on a terminal without columns that have nothing in them."""
    shown = list(range(len(answer.columns)))
    if output.terminal_width() is not None and answer.rows:
        shown = [n for n in shown if any(row[n] not in (None, "") for row in answer.rows)] or shown
    columns = [answer.columns[n] for n in shown]
    output.table(columns, [[_cell(row[n]) for n in shown] for row in answer.rows], cut=columns)
    hidden = len(answer.columns) - len(shown)
    if hidden:
        which = (
            "1 column has nothing in these rows and is"
            if hidden == 1
            else f"{hidden} columns have nothing in these rows and are"
        )
        output.say(f"{which} not shown; `-o json` has all")


def _show_account(account: Account) -> None:
    output.fields(
        [
            ("service", account.service),
            ("answered", account.answered),
            ("captured", account.captured),
            ("sampled out", account.sampled_out),
            ("dropped", account.dropped),
            ("missing", max(account.missing, 0)),
            ("doubled", account.doubled),
            ("forgotten", account.forgotten or None),
            ("with a body withheld", account.withheld or None),
            ("without an answer", max(-account.missing, 0) or None),
            ("segments on their way", account.waiting or None),
        ]
    )
    if not account.is_final:
        output.say("not final: some records are still on their way")
    elif account.holds:
        output.say("answered = captured + sampled out + dropped")
    else:
        output.say("records are missing, or here twice")


def _show_path(path: Path, form: output.Format) -> None:
    rows = _count(path)
    if form is output.Format.JSON:
        output.data_json({"path": str(path), "rows": rows})
    else:
        output.data(str(path))
        output.say(f"wrote {rows:,} {'row' if rows == 1 else 'rows'}")


def _count(path: Path) -> int:
    """Rows of a file that was written."""
    if path.suffix == ".csv":
        # A body may be longer than is usual; the limit is the whole process's.
        usual = csv.field_size_limit(1 << 30)
        try:
            with path.open(newline="", encoding="utf-8") as file:
                return sum(1 for _ in csv.reader(file)) - 1
        finally:
            csv.field_size_limit(usual)
    import duckdb  # takes a while, and few commands need it

    with duckdb.connect() as connection:
        return len(connection.read_parquet(literal(path)))


def _row(segment: Segment) -> list[output.Cell]:
    return [
        *(segment.service_name, f"{segment.model}:{segment.version}", str(segment.date)),
        *(segment.first, segment.last, segment.rows, size_text(segment.size), segment.name),
    ]


def _cell(value: Any) -> output.Cell:
    if value is None or isinstance(value, str | int | float):
        return value
    return json.dumps(value)
