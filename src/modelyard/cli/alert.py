"""`modelyard alert …`."""

from __future__ import annotations

from datetime import UTC
from typing import Annotated

import typer

from modelyard.cli import output, parameters, session
from modelyard.cli.listing import show_all, show_deleted
from modelyard.client.client import Client
from modelyard.domain.alert import Alert, AlertState
from modelyard.domain.channel import Channel
from modelyard.domain.service import Service

app = parameters.commands()
channel = parameters.commands()
app.add_typer(channel, name="channel", help="Say where messages of alerts go.")

Name = Annotated[str, typer.Argument(help="Name of the channel.", metavar="CHANNEL")]


@app.command("list")
def list_alerts(
    service: Annotated[
        str | None, typer.Argument(help="Name of the service.", metavar="[SERVICE]")
    ] = None,
    form: output.Output = output.Format.TABLE,
) -> None:
    """Show how alerts stand, those that fire first.

    Rules are set with `service update --alert`. AS OF is when what stands there was found: while
    there is nothing to measure, an alert that fires goes on to. Times are UTC.
    """
    with session.client() as yard:
        alerts = yard.alerts.list(service)
    ordered = sorted(alerts, key=lambda alert: alert.state is not AlertState.FIRING)
    columns = ("SERVICE", "RULE", "STATE", "SINCE", "AS OF", "WHAT WAS FOUND")
    show_all(form, ordered, columns, _row, sentence=columns[-1])


@channel.command()
def add(
    name: Name,
    webhook: Annotated[
        str | None, typer.Option(help="Where to POST messages, `https://…`.", metavar="URL")
    ] = None,
    email: Annotated[
        str | None, typer.Option(help="Who gets them by e-mail.", metavar="ADDRESS")
    ] = None,
    form: output.Output = output.Format.TABLE,
) -> None:
    """Have messages of all alerts go to a webhook, or to an e-mail address.

    Prints the secret that a webhook's messages are signed with; it is never shown again.
    """
    with session.client() as yard:
        made = yard.alerts.add_channel(name, webhook=webhook, email=email)
    if form is output.Format.JSON:
        output.data_json(made.model_dump(mode="json"))
        return
    output.fields(
        [
            ("channel", made.name),
            ("kind", made.kind),
            ("address", made.address),
            ("secret", made.secret),
        ]
    )
    if made.secret:
        output.say("keep the secret where messages arrive: it is not shown again")


@channel.command("list")
def list_channels(form: output.Output = output.Format.TABLE) -> None:
    """List where messages of alerts go, and how that went."""
    with session.client() as yard:
        channels = yard.alerts.channels()
    columns = (
        *("CHANNEL", "KIND", "ADDRESS", "DELIVERED", "WAITING", "FAILED", "GIVEN UP"),
        *("LAST (UTC)", "ERROR"),
    )
    show_all(form, channels, columns, _channel_row, sentence=columns[-1])


@channel.command()
def delete(
    name: Name, yes: parameters.Yes = False, form: output.Output = output.Format.TABLE
) -> None:
    """Take a channel away, with what was still to be sent there."""
    with session.client() as yard:
        if name in {one.name for one in yard.alerts.channels()}:  # what is not there is no question
            parameters.confirm(yes, f"Delete channel {name}?")
        yard.alerts.delete_channel(name)
    show_deleted(name, form)


@channel.command("test")
def try_channel(name: Name, form: output.Output = output.Format.TABLE) -> None:
    """Send a message to a channel now, and exit 1 when it does not arrive."""
    with session.client() as yard:
        tried = yard.alerts.test_channel(name)
    if form is output.Format.JSON:
        output.data_json(tried.model_dump(mode="json"))
    elif tried.delivered:
        output.data(f"{name} has got a message")
    else:
        output.data(f"{name} has got nothing: {tried.error}")
    if not tried.delivered:
        raise typer.Exit(1)


def firing(yard: Client, service: Service) -> tuple[Alert, ...]:
    """The alerts of a service that fire."""
    if not service.settings.alerts:
        return ()
    alerts = yard.alerts.list(service.name)
    return tuple(alert for alert in alerts if alert.state is AlertState.FIRING)


def in_words(alert: Alert) -> str:
    """What is wrong, by which rule, and when that was found."""
    found_at = (alert.found_at or alert.checked_at).astimezone(UTC)
    return f"{alert.sentence} ({alert.rule}, as of {found_at:%Y-%m-%d %H:%M} UTC)"


def _row(alert: Alert) -> list[output.Cell]:
    return [
        *(alert.service, alert.rule, alert.state, alert.since, alert.found_at or alert.checked_at),
        alert.sentence,
    ]


def _channel_row(found: Channel) -> list[output.Cell]:
    return [
        *(found.name, found.kind, found.address, found.delivered, found.waiting),
        *(found.failed, found.given_up, found.delivered_at, found.error),
    ]
