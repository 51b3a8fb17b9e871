"""`modelyard operation …`."""

from __future__ import annotations

from typing import Annotated

import typer

from modelyard.cli import logs, output, parameters, session
from modelyard.cli.listing import show_all
from modelyard.domain.operation import Operation

app = parameters.commands()

OperationId = Annotated[str, typer.Argument(help="Id of the operation.", metavar="ID")]


@app.command("list")
def list_operations(
    limit: parameters.Limit = 50, form: output.Output = output.Format.TABLE
) -> None:
    """List operations, newest first."""
    with session.client() as yard:
        operations = yard.operations.list(limit=limit or None)
    show_all(form, operations, ("ID", "KIND", "RESOURCE", "STATE", "CREATED (UTC)"), _row)


@app.command()
def show(operation: OperationId, form: output.Output = output.Format.TABLE) -> None:
    """Show how an operation stands."""
    with session.client() as yard:
        found = yard.operations.get(operation)
    if form is output.Format.JSON:
        output.data_json(found.model_dump(mode="json"))
        return
    error = found.error or {}
    output.fields(
        [
            ("operation", str(found.id)),
            ("kind", found.kind),
            ("resource", found.resource),
            ("state", found.state),
            ("error", error.get("message")),
            ("hint", error.get("hint")),
            ("created", found.created_at),
            ("updated", found.updated_at),
            ("created by", found.created_by),
        ]
    )


@app.command()
def cancel(operation: OperationId, form: output.Output = output.Format.TABLE) -> None:
    """End the building, profiling, replaying or moving of an image.

    A build that is cancelled leaves no version behind. What has ended stays as it is.
    """
    with session.client() as yard:
        found = yard.operations.cancel(operation)
    if form is output.Format.JSON:
        output.data_json(found.model_dump(mode="json"))
    else:
        output.data(found.state)


@app.command()
def log(
    operation: OperationId,
    follow: parameters.Follow = False,
    form: output.Output = output.Format.TABLE,
) -> None:
    """Print an operation's log."""
    with session.client() as yard:
        logs.show(yard.operations.log(operation, follow=follow), form)


def _row(operation: Operation) -> list[output.Cell]:
    return [
        str(operation.id),
        operation.kind,
        operation.resource,
        operation.state,
        operation.created_at,
    ]
