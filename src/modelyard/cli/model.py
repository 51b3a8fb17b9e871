"""`modelyard model …`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from modelyard.cli import output, parameters, progress, session
from modelyard.cli.listing import (
    label_change,
    search_filters,
    show_all,
    show_deleted,
    show_labels,
    show_reference,
)
from modelyard.domain.model import Model
from modelyard.domain.values import size_text

app = parameters.commands()


@app.command()
def register(
    name: Annotated[str, typer.Argument(help="Name of the model.", metavar="NAME")],
    source: Annotated[str, typer.Argument(help="File or folder; `-` reads stdin.", metavar="PATH")],
    file_name: Annotated[
        str | None, typer.Option(help="Name of the file that stdin becomes.", metavar="NAME")
    ] = None,
    tags: parameters.Tags = None,
    properties: parameters.Properties = None,
    description: parameters.Description = None,
    framework: Annotated[
        str | None,
        typer.Option(help="What trained it; unset guesses from the format.", metavar="NAME"),
    ] = None,
    framework_version: Annotated[
        str | None, typer.Option(help="Its version.", metavar="VERSION")
    ] = None,
    sample: parameters.Sample = None,
    form: output.Output = output.Format.TABLE,
) -> None:
    """Register the next version of a model and print its reference."""
    sample_input = parameters.json_value(sample)
    with session.client() as yard, progress.transfer(f"uploading {source}") as on_bytes:
        model = yard.models.register(
            name,
            sys.stdin.buffer if source == "-" else source,
            file_name=file_name,
            tags=parameters.pairs(tags),
            properties=parameters.pairs(properties),
            description=description or "",
            framework=framework,
            framework_version=framework_version,
            sample_input=sample_input,
            progress=on_bytes,
        )
    output.say(f"registered {model.reference}: {model.format}, {size_text(model.size)}")
    show_reference(model, form)


@app.command("list")
def list_models(
    name: parameters.ByName = None,
    version: parameters.ByVersion = None,
    tag: parameters.ByTag = None,
    property_: parameters.ByProperty = None,
    framework: parameters.ByFramework = None,
    created_after: parameters.After = None,
    created_before: parameters.Before = None,
    text: parameters.ByText = None,
    limit: parameters.Limit = 50,
    form: output.Output = output.Format.TABLE,
) -> None:
    """List models, newest first.

    Every filter given must match.
    """
    filters = search_filters(
        name=name,
        version=version,
        tag=tag,
        property=property_,
        framework=framework,
        created_after=created_after,
        created_before=created_before,
        text=text,
    )
    with session.client() as yard:
        models = yard.models.list(limit=limit or None, **filters)
    columns = ("MODEL", "FORMAT", "FRAMEWORK", "SIZE", "CREATED (UTC)", "TAGS")
    show_all(form, models, columns, _row)


@app.command()
def show(model: parameters.ModelReference, form: output.Output = output.Format.TABLE) -> None:
    """Show everything about one version."""
    with session.client() as yard:
        found = yard.models.get(model)
    if form is output.Format.JSON:
        output.data_json(found.model_dump(mode="json"))
        return
    output.fields(
        [
            ("model", found.reference),
            ("format", found.format),
            ("framework", " ".join(filter(None, (found.framework, found.framework_version)))),
            ("description", found.description),
            ("tags", output.labels(found.tags)),
            ("properties", output.labels(found.properties)),
            ("created", found.created_at),
            ("created by", found.created_by),
            ("size", size_text(found.size)),
            *(("file", f"{file.path}  {size_text(file.size)}") for file in found.files[:50]),
            ("files", len(found.files) if len(found.files) > 50 else None),
            *_imports(found),
        ]
    )


def _imports(model: Model) -> Iterator[tuple[str, output.Cell]]:
    """What loading the pickles of a model would import."""
    if model.imports is None:
        return
    yield from (("imports", name) for name in model.imports.names[:50])
    more = len(model.imports.names) - 50
    if more > 0:
        yield "imports", f"… and {more} more; `-o json` shows all"
    if not model.imports.complete:
        yield "imports", "… and maybe others: not all could be read"


@app.command()
def download(
    model: parameters.ModelReference,
    to: Annotated[
        Path | None,
        typer.Option(help="Folder to create; unset takes `<name>-<version>`.", metavar="FOLDER"),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="The folder may exist; replace its files.")
    ] = False,
    form: output.Output = output.Format.TABLE,
) -> None:
    """Download a model's files, verified, and print the folder."""
    with session.client() as yard:
        found = yard.models.get(model)
        target = to or Path(f"{found.name}-{found.version}")
        with progress.transfer(f"downloading {found.reference}") as on_bytes:
            folder = yard.models.download(
                found.reference, target, exist_ok=overwrite, progress=on_bytes
            )
    if form is output.Format.JSON:
        output.data_json({"model": found.reference, "folder": str(folder)})
    else:
        output.data(str(folder))


@app.command()
def tag(
    model: parameters.ModelReference,
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
        changed = yard.models.change_labels(model, change)
    show_labels(changed, form)


@app.command()
def delete(
    model: parameters.ModelReference,
    yes: parameters.Yes = False,
    form: output.Output = output.Format.TABLE,
) -> None:
    """Delete a version; refused while an image needs it."""
    with session.client() as yard:
        found = yard.models.get(model)
        parameters.confirm(yes, f"Delete model {found.reference}?")
        yard.models.delete(found.reference)
    show_deleted(found.reference, form)


def _row(model: Model) -> list[output.Cell]:
    return [
        model.reference,
        model.format,
        model.framework,
        size_text(model.size),
        model.created_at,
        output.labels(model.tags),
    ]
