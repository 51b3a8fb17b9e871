"""`modelyard service keys …` and `modelyard service token`."""

from __future__ import annotations

from typing import Annotated

import typer

from modelyard.cli import output, parameters, session
from modelyard.domain.service import KeySlot, ServiceKeys

app = parameters.commands()


@app.command("show")
def show_keys(name: parameters.ServiceName, form: output.Output = output.Format.TABLE) -> None:
    """Show both keys of a service."""
    with session.client() as yard:
        _show_keys(yard.services.keys(name), form)


@app.command()
def regenerate(
    name: parameters.ServiceName,
    slot: Annotated[
        KeySlot,
        typer.Argument(help="Which key to replace: `primary` or `secondary`.", metavar="SLOT"),
    ],
    yes: parameters.Yes = False,
    form: output.Output = output.Format.TABLE,
) -> None:
    """Replace one key of a service.

    Callers that use the old one are refused at once.
    """
    parameters.confirm(yes, f"Replace the {slot} key of {name}?")
    with session.client() as yard:
        _show_keys(yard.services.regenerate_key(name, slot), form)


def token(
    name: parameters.ServiceName,
    lifetime: Annotated[
        str, typer.Option(help="How long it is good for, such as `8h`.", metavar="TIME")
    ] = "1h",
    form: output.Output = output.Format.TABLE,
) -> None:
    """Print a token of a service whose callers need one.

    It ends by itself, or with the primary key of the service.
    """
    with session.client() as yard:
        found = yard.services.token(name, lifetime=lifetime)
    if form is output.Format.JSON:
        output.data_json(found.model_dump(mode="json"))
    else:
        output.data(found.token)
        output.say(f"good until {found.expires_at:%Y-%m-%d %H:%M:%S} UTC")


def _show_keys(found: ServiceKeys, form: output.Format) -> None:
    if form is output.Format.JSON:
        output.data_json(found.model_dump(mode="json"))
    else:
        output.fields([("primary", found.primary), ("secondary", found.secondary)])
