"""`modelyard service …`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import typer

from modelyard.cli import blocks, logs, output, parameters, progress, session, shared, top
from modelyard.cli import why as why_module
from modelyard.cli.listing import (
    label_change,
    search_filters,
    show_all,
    show_deleted,
    show_labels,
)
from modelyard.domain.change import ServiceChange, altered, split_traffic
from modelyard.domain.clients import ClientCertificate
from modelyard.domain.rollout import in_words
from modelyard.domain.service import KeySlot, Service, ServiceKeys, setting_text
from modelyard.domain.telemetry import Point
from modelyard.domain.values import size_text

app = parameters.commands()
keys = parameters.commands()
certificates = parameters.commands()
app.add_typer(keys, name="keys", help="Show and renew the keys of a service.")
app.add_typer(
    certificates, name="certificates", help="Issue and revoke certificates of callers of a service."
)

Image = Annotated[
    str, typer.Option("--image", help="Image to run, `name[:version]`.", metavar="REF")
]
NewImage = Annotated[
    str | None,
    typer.Option("--image", help="Image to run instead, `name[:version]`.", metavar="REF"),
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
    _show(service, form)


@app.command()
@shared.options(shared.SettingOptions)
def update(
    name: parameters.ServiceName,
    image: NewImage = None,
    canary: parameters.Canary = None,
    step_time: parameters.StepTime = None,
    shadow: parameters.Shadow = None,
    wait: parameters.Wait = True,
    form: output.Output = output.Format.TABLE,
    **settings: Any,
) -> None:
    """Change image or settings without a failed request.

    What is absent stays. With --canary or --shadow the change is tried beside what serves, until
    it is promoted or rolled back.
    """
    if image is None and not settings:
        raise parameters.nothing_given("give --image or a setting")
    with session.client() as yard:
        service = yard.services.update(
            name,
            image,
            canary=None if canary is None else canary.split(","),
            step_time=step_time,
            shadow=shadow,
            wait=wait,
            on_log=progress.log_line,
            **settings,
        )
    _show(service, form)


@app.command()
def scale(
    name: parameters.ServiceName,
    replicas: Annotated[int, typer.Argument(help="Running copies.", min=0, metavar="N")],
    wait: parameters.Wait = True,
    form: output.Output = output.Format.TABLE,
) -> None:
    """Change the number of replicas.

    Those that stay are not restarted. None at all, until a request comes, is `service update
    --replicas 0 --max-replicas N`.
    """
    with session.client() as yard:
        service = yard.services.scale(name, replicas, wait=wait)
    _show(service, form)


@app.command()
def split(
    name: parameters.ServiceName,
    shares: Annotated[
        list[str], typer.Argument(help="Images and their shares, `digits:3=80%`.", metavar="SHARE")
    ],
    wait: parameters.Wait = True,
    form: output.Output = output.Format.TABLE,
) -> None:
    """Share the traffic of a service among several images.

    Shares are 100 % together: `modelyard service split digits digits:3=80% digits:4=20%`.
    """
    with session.client() as yard:
        service = yard.services.split(
            name, parameters.pairs(shares) or {}, wait=wait, on_log=progress.log_line
        )
    _show(service, form)


@app.command()
def promote(
    name: parameters.ServiceName,
    wait: parameters.Wait = True,
    form: output.Output = output.Format.TABLE,
) -> None:
    """Give the candidate of a canary all of the traffic.

    What served before is retired when the candidate has all its replicas.
    """
    with session.client() as yard:
        service = yard.services.promote(name, wait=wait, on_log=progress.log_line)
    _show(service, form)


@app.command()
def rollback(
    name: parameters.ServiceName,
    wait: parameters.Wait = True,
    form: output.Output = output.Format.TABLE,
) -> None:
    """Go back to what served before, without a failed request.

    Drops the candidate of a canary at once. Given twice without one, it goes forth again.
    """
    with session.client() as yard:
        service = yard.services.rollback(name, wait=wait, on_log=progress.log_line)
    _show(service, form)


@app.command()
def history(name: parameters.ServiceName, form: output.Output = output.Format.TABLE) -> None:
    """Show what a service was asked to be, and what became of it."""
    with session.client() as yard:
        changes = yard.services.history(name)
    titles = ("GENERATION", "AT (UTC)", "OUTCOME", "BY", "IMAGE", "HOW", "SETTINGS", "WHY")
    before = {later.generation: earlier for later, earlier in pairwise(changes)}

    def row(change: ServiceChange) -> list[output.Cell]:
        changed = ", ".join(altered(change, before.get(change.generation)))
        by = change.by or "modelyard"
        return [
            *(change.generation, change.at, change.outcome, by),
            *(_images(change.traffic) or change.image, change.rollout, changed, change.reason),
        ]

    show_all(form, changes, titles, row)


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
    show_all(form, services, columns, _row)


@app.command()
def show(name: parameters.ServiceName, form: output.Output = output.Format.TABLE) -> None:
    """Show everything about a service."""
    with session.client() as yard:
        service = yard.services.get(name)
    _show(service, form)


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
    """Send data to a service and print its answer."""
    body: Any = parameters.content(data) if raw else parameters.json_value(data)
    with session.client() as yard:
        answer = yard.services.score(name, body, certificate=certificate)
    if form is output.Format.TABLE and isinstance(answer, bytes):
        output.data_bytes(answer)
    elif form is output.Format.TABLE and isinstance(answer, str):
        output.data(answer)
    else:
        output.data_json(output.json_safe(answer))


@keys.command("show")
def show_keys(name: parameters.ServiceName, form: output.Output = output.Format.TABLE) -> None:
    """Show both keys of a service."""
    with session.client() as yard:
        _show_keys(yard.services.keys(name), form)


@keys.command()
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


@app.command()
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


@certificates.command()
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


@certificates.command("list")
def list_certificates(
    name: parameters.ServiceName, form: output.Output = output.Format.TABLE
) -> None:
    """List the certificates of callers of a service, latest first."""
    with session.client() as yard:
        found = yard.services.certificates(name)
    _show_certificates(found, form)


@certificates.command()
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


app.command()(why_module.why)


def _show(service: Service, form: output.Format) -> None:
    if form is output.Format.JSON:
        output.data_json(service.model_dump(mode="json"))
    else:
        output.fields([*_facts(service), *_status(service)])


def _show_keys(found: ServiceKeys, form: output.Format) -> None:
    if form is output.Format.JSON:
        output.data_json(found.model_dump(mode="json"))
    else:
        output.fields([("primary", found.primary), ("secondary", found.secondary)])


def _show_certificates(found: tuple[ClientCertificate, ...], form: output.Format) -> None:
    titles = ("CLIENT", "SERIAL", "ISSUED (UTC)", "ENDS (UTC)", "REVOKED (UTC)")

    def row(one: ClientCertificate) -> list[output.Cell]:
        return [one.client, one.serial, one.issued_at, one.expires_at, one.revoked_at]

    show_all(form, found, titles, row)


def _row(service: Service) -> list[output.Cell]:
    return [
        service.name,
        service.status.state,
        _images(split_traffic(service.deployments)) or service.image,
        ", ".join(service.models),
        _ready(service),
        service.scoring_uri,
        output.labels(service.tags),
    ]


def _point(point: Point) -> list[output.Cell]:
    return [point.begins, *top.cells(point), f"{point.restarts:.0f}"]


def _images(shares: Mapping[str, int]) -> str:
    """Images with their shares: `digits:3 80 %, digits:4 20 %`."""
    return ", ".join(f"{image} {share} %" for image, share in shares.items())


def _ready(service: Service) -> str:
    ready = sum(replica.state == "Ready" for replica in service.status.replicas)
    settings = service.settings
    if settings.max_replicas is None:
        return f"{ready}/{settings.replicas}"
    return f"{ready} of {settings.replicas}-{settings.max_replicas}"


def _facts(service: Service) -> Iterator[tuple[str, output.Cell]]:
    yield "service", service.name
    yield "state", service.status.state
    yield "scoring URI", service.scoring_uri
    yield "swagger URI", service.swagger_uri
    yield "image", service.image
    yield "traffic", ", ".join(f"{d.image} {d.weight} %" for d in service.deployments if d.weight)
    if service.rollout is not None:
        yield "rollout", in_words(service.rollout, service.image)
    if service.status.comparison is not None:
        yield "answers", str(service.status.comparison)
    yield "models", ", ".join(service.models)
    yield "target", service.target
    yield "description", service.description
    yield "tags", output.labels(service.tags)
    yield "properties", output.labels(service.properties)
    for name, value in service.settings.model_dump(mode="json").items():
        words = name.replace("_", " ")
        if name == "environment":
            yield from ((words, f"{key}={text}") for key, text in value.items())
        else:
            yield words, setting_text(name, value)
    yield "created", service.created_at
    yield "updated", service.updated_at


def _status(service: Service) -> Iterator[tuple[str, output.Cell]]:
    for replica in service.status.replicas:
        memory = size_text(replica.memory)
        yield (
            f"replica {replica.id}",
            f"{replica.state}  {replica.image}  {memory}  restarts {replica.restarts}",
        )
    if service.status.cause is not None:
        yield "cause", service.status.cause.message
        yield "", f"`modelyard why {service.name}` shows the evidence and the fix"
