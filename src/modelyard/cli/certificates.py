"""`modelyard service certificates …`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from modelyard.cli import output, parameters, session
from modelyard.cli.listing import show_all
from modelyard.domain.clients import ClientCertificate

app = parameters.commands()


@app.command()
def issue(
    name: parameters.ServiceName,
    client: Annotated[str, typer.Argument(help="How the caller is called.", metavar="CLIENT")],
    file: Annotated[
        Path | None,
        typer.Option(help="New file for the certificate; unset: `CLIENT.pem`.", metavar="FILE"),
    ] = None,
    request: Annotated[
        Path | None,
        typer.Option(
            help="Signing request (PEM) for a key that the caller has; unset makes a key, which "
            "stands in front of the certificate.",
            metavar="FILE",
        ),
    ] = None,
    lifetime: Annotated[
        str, typer.Option(help="How long it is good for, such as `8h`.", metavar="TIME")
    ] = "90d",
    form: output.Output = output.Format.TABLE,
) -> None:
    """Get a certificate for a caller of a service whose `auth` is `cert`.

    A key that is made for it is sent nowhere.
    """
    place = file or Path(f"{client}.pem")
    with session.client() as yard:
        issued = yard.services.issue_certificate(
            name, client, place, request=request, lifetime=lifetime
        )
    if form is output.Format.JSON:
        output.data_json({**issued.model_dump(mode="json"), "file": str(place)})
    else:
        output.data(str(place))
        output.say(f"{issued.name}, good until {issued.expires_at:%Y-%m-%d %H:%M:%S} UTC")


@app.command("list")
def list_certificates(
    name: parameters.ServiceName, form: output.Output = output.Format.TABLE
) -> None:
    """List the certificates of callers of a service, latest first."""
    with session.client() as yard:
        found = yard.services.certificates(name)
    _show_certificates(found, form)


@app.command()
def revoke(
    name: parameters.ServiceName,
    which: Annotated[
        str, typer.Argument(help="A serial, or a CLIENT: all that it has.", metavar="WHICH")
    ],
    yes: parameters.Yes = False,
    form: output.Output = output.Format.TABLE,
) -> None:
    """Let a certificate be good no more.

    That holds for connections that are open, too.
    """
    parameters.confirm(yes, f"Revoke the certificate {which} of {name}?")
    with session.client() as yard:
        revoked = yard.services.revoke_certificate(name, which)
    _show_certificates(revoked, form)


def _show_certificates(found: tuple[ClientCertificate, ...], form: output.Format) -> None:
    titles = ("CLIENT", "SERIAL", "ISSUED (UTC)", "ENDS (UTC)", "REVOKED (UTC)")

    def row(one: ClientCertificate) -> list[output.Cell]:
        return [one.client, one.serial, one.issued_at, one.expires_at, one.revoked_at]

    show_all(form, found, titles, row)
