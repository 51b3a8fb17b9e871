"""`modelyard deploy`: everything from local files to a service that answers, in one command."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from modelyard.cli import output, parameters, progress, session, shared
from modelyard.client import Action, Client, Deployed, Step
from modelyard.domain.service import Authentication, Service
from modelyard.domain.service_file import ModelSource
from modelyard.domain.values import SERVICE_NAME_PATTERN
from modelyard.errors import InvalidRequest

app = parameters.commands()

_NAMED_PATH = re.compile(r"([a-z0-9][a-z0-9._-]*)=(.+)")
_WORDS = {
    Action.REGISTER: "registered",
    Action.BUILD: "built",
    Action.DEPLOY: "deployed",
    Action.UPDATE: "updated",
    Action.KEEP: "unchanged",
}


@app.command()
@shared.options(shared.DeployOptions)
def deploy(
    name: Annotated[
        str | None,
        typer.Argument(
            help="Name of the service, and of its model and image; or the model's file, whose name "
            "it takes.",
            metavar="NAME",
        ),
    ] = None,
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            help="File or folder to register, or a registered `name:version`; repeat as "
            "`name=path` for several.",
            metavar="PATH",
        ),
    ] = None,
    script: parameters.Script = None,
    requirements: parameters.Requirements = None,
    files: Annotated[
        list[Path] | None,
        typer.Option(
            "--file", help="File or folder that the script needs; repeat.", metavar="PATH"
        ),
    ] = None,
    service_file: Annotated[
        Path | None,
        typer.Option(
            "--service-file", "-f", help="Take everything from a service file.", metavar="FILE"
        ),
    ] = None,
    sample: parameters.Sample = None,
    image: Annotated[
        str | None,
        typer.Option(
            "--image", help="Name of the image; unset takes the service's.", metavar="NAME"
        ),
    ] = None,
    target: parameters.MaybeTarget = None,
    tags: parameters.Tags = None,
    properties: parameters.Properties = None,
    description: parameters.Description = None,
    plan: Annotated[bool, typer.Option("--plan", help="Only show what would be done.")] = False,
    form: output.Output = output.Format.TABLE,
    **others: Any,
) -> None:
    """Bring a service up from files, doing what differs.

    Registers the model, builds the image, deploys or updates the service, waits until it is ready,
    and prints a curl line that scores. Run again it changes only what differs. Without a script the
    model is served by its own methods.
    """
    if name is not None and script is None and not models and Path(name).exists():
        name, models = _service_name(name), [name]
    options: dict[str, Any] = parameters.given(
        script=script,
        models=[_model(text) for text in models or ()],
        requirements=requirements,
        files=files,
        sample=parameters.json_value(sample),
        image=image,
        target=target,
        tags=parameters.pairs(tags),
        properties=parameters.pairs(properties),
        description=description,
        **others,
    )
    _check_usage(name, service_file, options)
    with session.client() as yard:
        done = _run(yard, name, service_file, options, plan)
        if form is output.Format.JSON:
            output.data_json(done.model_dump(mode="json"))
        elif plan:
            _show_plan(done)
        elif done.service is not None:
            output.data(_curl_line(yard, done.service, options.get("sample")))


def _check_usage(name: str | None, service_file: Path | None, options: dict[str, Any]) -> None:
    if service_file is not None and (name or options):
        raise typer.BadParameter(
            "with --service-file everything is said in the file", param_hint="--service-file"
        )
    unnamed = not options.keys() & {"script", "models"}
    if service_file is None and unnamed and name is not None and _is_path(name):
        raise InvalidRequest(
            f"there is no file {name}",
            hint="give the file of a model, or the name of the service and --model or --script",
        )
    if service_file is None and (name is None or unnamed):
        raise typer.BadParameter(
            "give a name and --model or --script, the file of a model, or --service-file",
            param_hint="NAME",
        )


def _is_path(name: str) -> bool:
    """Whether this can only be meant as a file: names of services have no dots or slashes."""
    return "/" in name or Path(name).suffix != ""


def _service_name(path: str) -> str:
    """The name of the service for a model's file: `my-model` for `out/My_model.onnx`."""
    name = re.sub(r"[^a-z0-9]+", "-", Path(path).resolve().stem.lower()).strip("-")
    if re.fullmatch(SERVICE_NAME_PATTERN, name) is None:
        raise typer.BadParameter(
            f"the name of {path} makes no name of a service; give one, and --model {path}",
            param_hint="NAME",
        )
    return name


def _run(
    yard: Client, name: str | None, service_file: Path | None, options: dict[str, Any], plan: bool
) -> Deployed:
    what = "comparing" if plan else "deploying"
    with progress.transfer(what) as on_bytes, progress.few_lines() as on_log:
        told: dict[str, Any] = {
            "plan": plan,
            "progress": on_bytes,
            "on_log": on_log,
            "on_step": None if plan else _say_step,
        }
        if service_file is not None:
            return yard.deploy_file(service_file, **told)
        return yard.deploy(name or "", **options, **told)


def _model(text: str) -> str | ModelSource:
    """`name=path`, a path, or a registered `name:version`."""
    match = _NAMED_PATH.fullmatch(text)
    if match is None or Path(text).exists():
        return text
    return ModelSource(name=match[1], path=match[2])


def _say_step(step: Step) -> None:
    output.say(f"{step.kind} {step.reference or step.name}: {_WORDS[step.action]}{_reasons(step)}")


def _reasons(step: Step) -> str:
    return f" ({'; '.join(step.changes)})" if step.changes else ""


def _show_plan(planned: Deployed) -> None:
    rows = [
        (step.action, step.kind, step.reference or step.name, "; ".join(step.changes))
        for step in planned.steps
    ]
    output.table(("ACTION", "KIND", "NAME", "BECAUSE"), rows, sentence="BECAUSE")


def _curl_line(yard: Client, service: Service, sample: Any) -> str:
    """A command that works when it is pasted into a shell: it scores, if there is a sample."""
    words = ["curl", "-sS"]
    credential = yard.services.credential(service)
    if credential is not None:
        words += ["-H", f"Authorization: Bearer {credential}"]
    words += _trust(yard, service)
    if service.settings.auth is Authentication.CERT:
        words += ["--cert", "CLIENT.pem"]
        output.say(f"`modelyard service certificates issue {service.name} CLIENT` makes CLIENT.pem")
    sample = _checked_sample(yard, service) if sample is None else sample
    if sample is None:
        output.say("this shows what the service takes; give --sample to have a request here")
        return shlex.join([*words, service.swagger_uri or ""])
    words += ["-H", "Content-Type: application/json", "--data", json.dumps(sample)]
    return shlex.join([*words, service.scoring_uri or ""])


def _trust(yard: Client, service: Service) -> list[str]:
    """What makes curl trust a gateway whose certificate is of the workspace's own authority."""
    if not (service.scoring_uri or "").startswith("https:") or yard.info().authority is None:
        return []
    output.say("curl finds the authority after `modelyard server authority > authority.pem`")
    return ["--cacert", "authority.pem"]


def _checked_sample(yard: Client, service: Service) -> Any:
    """What the check of the service's image scored."""
    check = yard.images.get(service.image).check
    return None if check is None else check.sample
