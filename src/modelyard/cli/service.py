"""`modelyard service …`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from modelyard.cli import (
    alert,
    blocks,
    certificates,
    change,
    feedback,
    keys,
    logs,
    output,
    parameters,
    progress,
    service_view,
    session,
    shared,
    top,
)
from modelyard.cli import drift as drift_module
from modelyard.cli import why as why_module
from modelyard.cli.listing import label_change, search_filters, show_all, show_deleted, show_labels
from modelyard.domain.telemetry import Point

app = parameters.commands()
app.add_typer(keys.app, name="keys", help="Show and renew the keys of a service.")
app.add_typer(
    certificates.app,
    name="certificates",
    help="Issue and revoke certificates of callers of a service.",
)

Image = Annotated[
    str, typer.Option("--image", help="Image to run, `name[:version]`.", metavar="REF")
]


@app.command()
@shared.options(shared.SettingOptions)
def deploy(
    name: parameters.ServiceName,
    image: Image,
    target: parameters.Target = "local",
    tags: parameters.Tags = None,
    properties: parameters.Properties = None,
    description: parameters.Description = None,
    wait: parameters.Wait = True,
    form: output.Output = output.Format.TABLE,
    **settings: Any,
) -> None:
    """Create a service that runs an image, and print it."""
    with session.client() as yard:
        service = yard.services.deploy(
            name,
            image,
            target=target,
            tags=parameters.pairs(tags),
            properties=parameters.pairs(properties),
            description=description or "",
            wait=wait,
            on_log=progress.log_line,
            **settings,
        )
    service_view.show(service, form)


app.command()(change.update)
app.command()(change.scale)
app.command()(change.split)
app.command()(change.promote)
app.command()(change.rollback)
app.command()(change.history)


@app.command("list")
def list_services(
    name: parameters.ByName = None,
    tag: parameters.ByTag = None,
    property_: parameters.ByProperty = None,
    model: parameters.ByModel = None,
    image: parameters.ByImage = None,
    created_after: parameters.After = None,
    created_before: parameters.Before = None,
    text: parameters.ByText = None,
    limit: parameters.Limit = 50,
    form: output.Output = output.Format.TABLE,
) -> None:
    """List services, newest first.

    Every filter given must match.
    """
    filters = search_filters(
        name=name,
        tag=tag,
        property=property_,
        model=model,
        image=image,
        created_after=created_after,
        created_before=created_before,
        text=text,
    )
    with session.client() as yard:
        services = yard.services.list(limit=limit or None, **filters)
    columns = ("SERVICE", "STATE", "IMAGE", "MODELS", "READY", "SCORING URI", "TAGS")
    show_all(form, services, columns, service_view.row)


@app.command()
def show(name: parameters.ServiceName, form: output.Output = output.Format.TABLE) -> None:
    """Show everything about a service, and its alerts that fire."""
    with session.client() as yard:
        service = yard.services.get(name)
        firing = alert.firing(yard, service) if form is output.Format.TABLE else ()
    service_view.show(service, form, firing)


@app.command("logs")
def show_logs(
    name: parameters.ServiceName,
    replica: Annotated[
        str | None, typer.Option(help="Only this replica; `service show` lists them.", metavar="ID")
    ] = None,
    request: Annotated[
        str | None,
        typer.Option(help="Only what was printed for the request with this id.", metavar="ID"),
    ] = None,
    follow: parameters.Follow = False,
    tail: Annotated[
        int | None, typer.Option(help="Begin with the last so many lines.", min=0, metavar="N")
    ] = None,
    form: output.Output = output.Format.TABLE,
) -> None:
    """Print what the replicas wrote, back to their start."""
    with session.client() as yard:
        lines = yard.services.logs(name, replica=replica, request=request, follow=follow, tail=tail)
        found = logs.show(lines, form)
    if request is not None and not found:
        output.say(f"nothing that {name} printed is of a request {request}")


@app.command()
def metrics(
    name: parameters.ServiceName,
    last: Annotated[str, typer.Option(help="How far back, such as `24h`.", metavar="TIME")] = "1h",
    step: Annotated[
        str | None,
        typer.Option(help="How long each point is, such as `5m`; unset fits.", metavar="TIME"),
    ] = None,
    plot: Annotated[bool, typer.Option("--plot", help="Draw charts instead of a table.")] = False,
    form: output.Output = output.Format.TABLE,
) -> None:
    """Show how a service was used, minute by minute; kept for seven days."""
    with session.client() as yard:
        found = yard.services.metrics(name, last=last, step=step)
    if form is output.Format.JSON:
        output.data_json(found.model_dump(mode="json"))
    elif not found.points:
        output.say("there are no figures of that time; they come by the minute")
    elif plot:
        output.data("\n\n".join(blocks.charts(found)))
    else:
        output.table(("BEGINS (UTC)", *top.COLUMNS, "RESTARTS"), map(_point, found.points))


@app.command()
def score(
    name: parameters.ServiceName,
    data: Annotated[
        str, typer.Argument(help="JSON, or `@file`, or `-` for stdin.", metavar="DATA")
    ],
    raw: Annotated[
        bool, typer.Option("--raw", help="Send the bytes as they are, not as JSON.")
    ] = False,
    certificate: Annotated[
        Path | None,
        typer.Option(help="PEM file with a client certificate and its key.", metavar="FILE"),
    ] = None,
    form: output.Output = output.Format.TABLE,
) -> None:
    """Send data to a service and print its answer; its id goes to stderr."""
    body: Any = parameters.content(data) if raw else parameters.json_value(data)
    with session.client() as yard:
        scored = yard.services.scored(name, body, certificate=certificate)
    answer = scored.answer
    if form is output.Format.TABLE and isinstance(answer, bytes):
        output.data_bytes(answer)
    elif form is output.Format.TABLE and isinstance(answer, str):
        output.data(answer)
    else:
        output.data_json(output.json_safe(answer))
    if scored.prediction_id is not None:
        output.say(f"prediction {scored.prediction_id}")


app.command()(keys.token)
app.command("feedback")(feedback.tell)
app.command("quality")(feedback.show_quality)


@app.command()
def tag(
    name: parameters.ServiceName,
    tags: parameters.NewTags = None,
    remove: parameters.RemovedTags = None,
    replace: parameters.ReplaceTags = False,
    properties: parameters.Properties = None,
    description: parameters.Description = None,
    form: output.Output = output.Format.TABLE,
) -> None:
    """Change tags or description; add properties."""
    change = label_change(tags, remove, replace, properties, description)
    with session.client() as yard:
        changed = yard.services.change_labels(name, change)
    show_labels(changed, form)


@app.command()
def delete(
    name: parameters.ServiceName,
    yes: parameters.Yes = False,
    wait: parameters.Wait = True,
    form: output.Output = output.Format.TABLE,
) -> None:
    """Drain the replicas of a service and remove it."""
    with session.client() as yard:
        service = yard.services.get(name)
        parameters.confirm(yes, f"Delete service {service.name}?")
        yard.services.delete(service.name, wait=wait)
    show_deleted(service.name, form)


def _point(point: Point) -> list[output.Cell]:
    return [point.begins, *top.cells(point), f"{point.restarts:.0f}"]


app.command()(why_module.why)
app.command()(drift_module.drift)
app.command()(drift_module.baseline)
