"""How a service looks: as a line of a list, and whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from modelyard.cli import alert, output
from modelyard.domain.alert import Alert
from modelyard.domain.change import split_traffic, traffic_text
from modelyard.domain.rollout import in_words
from modelyard.domain.service import Service, setting_text
from modelyard.domain.values import size_text


def show(service: Service, form: output.Format, firing: Sequence[Alert] = ()) -> None:
    """Print everything about a service, with alerts of it that fire; as JSON without them."""
    if form is output.Format.JSON:
        output.data_json(service.model_dump(mode="json"))
    else:
        alerts = (("alert", alert.in_words(one)) for one in firing)
        output.fields([*_facts(service), *_status(service), *alerts])


def row(service: Service) -> list[output.Cell]:
    """One line of a list."""
    return [
        service.name,
        state(service),
        traffic_text(split_traffic(service.deployments)) or service.image,
        ", ".join(service.models),
        _ready(service),
        service.scoring_uri,
        output.labels(service.tags),
    ]


def state(service: Service) -> str:
    """How it is doing, and whether it sleeps."""
    return f"{service.status.state}{', asleep' if service.status.asleep else ''}"


def _ready(service: Service) -> str:
    ready = sum(replica.state == "Ready" for replica in service.status.replicas)
    settings = service.settings
    if settings.max_replicas is None:
        return f"{ready}/{settings.replicas}"
    return f"{ready} of {settings.replicas}-{settings.max_replicas}"


def _facts(service: Service) -> Iterator[tuple[str, output.Cell]]:
    yield "service", service.name
    yield "state", state(service)
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
