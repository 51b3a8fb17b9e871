"""`modelyard image …`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from modelyard.cli import logs, moving, output, parameters, progress, session, shared
from modelyard.cli.listing import (
    label_change,
    search_filters,
    show_all,
    show_deleted,
    show_labels,
    show_reference,
)
from modelyard.domain.image import Base, Image, ImageMark, Package
from modelyard.domain.values import size_text
from modelyard.domain.verification import Verification, VerifiedPart

app = parameters.commands()

_COLUMNS = ("IMAGE", "STATE", "MODELS", "PLATFORM", "SIZE", "MARKS", "CREATED (UTC)", "TAGS")


@app.command()
@shared.options(shared.BuildOptions)
def build(
    name: Annotated[str, typer.Argument(help="Name of the image.", metavar="NAME")],
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--model", help="Model to put inside, `name[:version]`; repeat.", metavar="REF"
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
    sample: parameters.Sample = None,
    tags: parameters.Tags = None,
    properties: parameters.Properties = None,
    description: parameters.Description = None,
    upgrade: parameters.Upgrade = False,
    network: parameters.Network = None,
    wait: parameters.Wait = True,
    form: output.Output = output.Format.TABLE,
    **ways: Any,
) -> None:
    """Build the next version of an image and print its reference.

    The same inputs give the image that is there. The build log goes to stderr. Without a script the
    one model is served by its own methods.
    """
    body = parameters.json_value(sample)
    with session.client() as yard:
        image = yard.images.build(
            name,
            models=models or (),
            script=script,
            files=files or (),
            requirements=requirements,
            sample=body,
            tags=parameters.pairs(tags),
            properties=parameters.pairs(properties),
            description=description or "",
            upgrade=upgrade,
            network=network or "none",
            wait=wait,
            on_log=progress.log_line,
            **ways,
        )
    output.say(f"{'built' if wait else 'building'} {image.reference}")
    show_reference(image, form)


@app.command("list")
def list_images(
    name: parameters.ByName = None,
    version: parameters.ByVersion = None,
    tag: parameters.ByTag = None,
    property_: parameters.ByProperty = None,
    model: parameters.ByModel = None,
    created_after: parameters.After = None,
    created_before: parameters.Before = None,
    text: parameters.ByText = None,
    limit: parameters.Limit = 50,
    form: output.Output = output.Format.TABLE,
) -> None:
    """List images, newest first.

    Every filter given must match.
    """
    filters = search_filters(
        name=name,
        version=version,
        tag=tag,
        property=property_,
        model=model,
        created_after=created_after,
        created_before=created_before,
        text=text,
    )
    with session.client() as yard:
        images = yard.images.list(limit=limit or None, **filters)
    show_all(form, images, _COLUMNS, _row)


@app.command()
def show(image: parameters.ImageReference, form: output.Output = output.Format.TABLE) -> None:
    """Show everything about one version."""
    with session.client() as yard:
        found = yard.images.get(image)
    if form is output.Format.JSON:
        output.data_json(found.model_dump(mode="json"))
    else:
        output.fields([*_facts(found), *_check(found), *_optimized(found), *_contents(found)])


@app.command()
def key(form: output.Output = output.Format.TABLE) -> None:
    """Print the public key that checks signatures of images.

    A host that has it in a .pem file in the folder `trusted` of its home starts what this server
    built.
    """
    with session.client() as yard:
        found = yard.images.key()
    if form is output.Format.JSON:
        output.data_json(found.model_dump(mode="json"))
    else:
        output.data(found.pem.rstrip())


@app.command()
def sbom(image: parameters.ImageReference, form: output.Output = output.Format.TABLE) -> None:
    """Print what is inside one version, as CycloneDX 1.6.

    That is packages, runtime, base, code and models. Both forms of output are that JSON document;
    into a file or a pipe go the very bytes that were signed with the image.
    """
    del form
    with session.client() as yard:
        output.data_bytes(yard.images.sbom(image))


@app.command()
def verify(image: parameters.ImageReference, form: output.Output = output.Format.TABLE) -> None:
    """Read all that is stored of one version, and say what is wrong.

    Digests of manifest, SBOM and every layer are computed anew, and the signature is checked. Exits
    with 1 when anything is wrong.
    """
    on_part = None if form is output.Format.JSON else _show_part
    with session.client() as yard:
        found = yard.images.verify(image, on_part=on_part)
    if form is output.Format.JSON:
        output.data_json(found.model_dump(mode="json"))
    output.say(_verdict(found))
    if not found.intact:
        raise typer.Exit(1)


def _verdict(found: Verification) -> str:
    if found.intact:
        return f"{found.image} is intact"
    wrong = sum(part.problem is not None for part in found.parts)
    verb = "is" if wrong == 1 else "are"
    return f"{found.image} is not intact: {wrong} of {len(found.parts)} parts {verb} wrong"


def _show_part(part: VerifiedPart) -> None:
    state = "ok" if part.problem is None else "WRONG"
    output.data(f"{state:<6} {part.part:<18} {part.digest}")
    if part.problem is not None:
        output.data(f"       {part.problem}")


@app.command()
def log(
    image: parameters.ImageReference,
    follow: parameters.Follow = False,
    form: output.Output = output.Format.TABLE,
) -> None:
    """Print the build log."""
    with session.client() as yard:
        logs.show(yard.images.log(image, follow=follow), form)


@app.command()
def tag(
    image: parameters.ImageReference,
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
        changed = yard.images.change_labels(image, change)
    show_labels(changed, form)


@app.command()
def delete(
    image: parameters.ImageReference,
    yes: parameters.Yes = False,
    form: output.Output = output.Format.TABLE,
) -> None:
    """Delete a version; refused while a service needs it."""
    with session.client() as yard:
        found = yard.images.get(image)
        parameters.confirm(yes, f"Delete image {found.reference}?")
        yard.images.delete(found.reference)
    show_deleted(found.reference, form)


_MARKS = {
    ImageMark.HOST_BOUND: "its base is made from the host that built it",
    ImageMark.FROM_SOURCES: "building it again may give another digest",
    ImageMark.UNCHECKED: "it was never started, for it is not for the host that built it",
}

for _name, _command in (
    ("export", moving.export),
    ("import", moving.import_),
    ("push", moving.push),
    ("pull", moving.pull),
):
    app.command(_name)(_command)


def _row(image: Image) -> list[output.Cell]:
    return [
        image.reference,
        image.state,
        ", ".join(image.models),
        "" if image.manifest is None else str(image.manifest.platform),
        size_text(image.size),
        ", ".join(image.marks),
        image.created_at,
        output.labels(image.tags),
    ]


def _facts(image: Image) -> Iterator[tuple[str, output.Cell]]:
    yield "image", image.reference
    yield "state", image.state
    if image.cause is not None:
        yield "cause", image.cause.message
        yield from (("evidence", line) for line in image.cause.evidence)
        yield "fix", image.cause.fix
    yield "digest", image.digest
    yield from (("mark", f"{mark}: {_MARKS[mark]}") for mark in image.marks)
    yield "signed by", image.signature.key if image.signature else None
    yield "models", ", ".join(image.models)
    yield "script", image.script or "none: the model's own methods"
    yield "description", image.description
    yield "tags", output.labels(image.tags)
    yield "properties", output.labels(image.properties)
    yield "created", image.created_at
    yield "created by", image.created_by


def _check(image: Image) -> Iterator[tuple[str, output.Cell]]:
    if image.check is None:
        return
    yield "cold start", f"{image.check.cold_start:.2f} s with {image.check.workers} workers"
    yield "memory", size_text(image.check.memory)
    if image.check.scoring_time is not None:
        yield "scoring", f"{image.check.scoring_time * 1000:.1f} ms for the sample"


def _optimized(image: Image) -> Iterator[tuple[str, output.Cell]]:
    if image.optimization is not None:
        yield from (("optimize", line) for line in image.optimization.lines())


def _contents(image: Image) -> Iterator[tuple[str, output.Cell]]:
    yield "size", size_text(image.size)
    if image.manifest is not None:
        yield "platform", f"{image.manifest.platform}, Python {image.manifest.python}"
        yield from _base(image.base, image.manifest.base)
        yield from (
            ("layer", f"{layer.kind}  {size_text(layer.size)}  {layer.digest}")
            for layer in image.manifest.layers
        )
    saved = sum(package.saved for package in image.packages)
    if saved:
        yield "slim", f"{size_text(saved)} left out"
    yield from (("package", _package(package)) for package in image.packages)


def _package(package: Package) -> str:
    sources = "  built from its sources" if package.from_source else ""
    saved = f"  {size_text(package.saved)} left out" if package.saved else ""
    return f"{package.name} {package.version}{sources}{saved}"


def _base(name: str | None, base: Base | None) -> Iterator[tuple[str, output.Cell]]:
    if base is None:
        yield "base", "none: it runs only as processes of a host"
        return
    yield "base", f"{name or base.origin}  {size_text(base.size)}  {base.digest}"
    yield "base Python", base.python
    for layer in base.layers:
        yield "base layer", f"{size_text(layer.size)}  {layer.digest}"
