"""`modelyard image export`, `import`, `push` and `pull`: images on the move.

Registered by `image`, whose commands these are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from modelyard.cli import output, parameters, progress, session
from modelyard.cli.listing import show_reference
from modelyard.client.moving import standard_output
from modelyard.domain.values import size_text
from modelyard.schemas import ImageForm

Name = Annotated[
    str | None,
    typer.Option(help="Name that it gets; unset takes the one that it carries.", metavar="NAME"),
]
Signed = Annotated[
    bool, typer.Option("--signed", help="Refuse it unless a trusted key has signed it.")
]


def export(
    image: parameters.ImageReference,
    to: Annotated[
        str | None,
        typer.Option(help="File to write, folder to create, or `-` for stdout.", metavar="PATH"),
    ] = None,
    form_: Annotated[
        ImageForm,
        typer.Option("--format", help="`oci`, `docker` or `containerfile`.", metavar="FORM"),
    ] = ImageForm.OCI,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="The file may exist; replace it.")
    ] = False,
    form: output.Output = output.Format.TABLE,
) -> None:
    """Write an image into a file for other programs, and print its path.

    `oci` is a layout in a tar, for podman, skopeo and docker from version 25; `docker` is for
    `docker load` of any version; `containerfile` is a folder for `podman build` or `docker build`.
    """
    with session.client() as yard:
        found = yard.images.get(image)
        target = to or _default(found.name, found.version, form_)
        place = standard_output() if target == "-" else Path(target)
        with progress.transfer(f"exporting {found.reference}") as on_bytes:
            yard.images.export(
                found.reference,
                place,
                form=form_,
                overwrite=overwrite,
                on_log=progress.log_line,
                progress=on_bytes,
            )
    if target == "-":
        return
    if form is output.Format.JSON:
        output.data_json({"image": found.reference, "format": form_, "path": target})
    else:
        output.data(target)


def import_(
    path: Annotated[
        Path, typer.Argument(help="Archive, or folder with an OCI layout.", metavar="PATH")
    ],
    name: Name = None,
    tags: parameters.Tags = None,
    properties: parameters.Properties = None,
    description: parameters.Description = None,
    signed: Signed = False,
    form: output.Output = output.Format.TABLE,
) -> None:
    """Take in an image that was exported, and print its reference.

    What was exported as `oci` or `docker` can be. Everything is compared with what it promises to
    be, and it is started once where this host can.
    """
    with session.client() as yard, progress.transfer(f"sending {path}") as on_bytes:
        image = yard.images.import_(
            path,
            name=name,
            tags=parameters.pairs(tags),
            properties=parameters.pairs(properties),
            description=description or "",
            signed=signed,
            on_log=progress.log_line,
            progress=on_bytes,
        )
    output.say(f"took in {image.reference}")
    show_reference(image, form)


def push(
    image: parameters.ImageReference,
    to: Annotated[
        str, typer.Argument(help="Name there, `registry.example.org/team/iris:3`.", metavar="NAME")
    ],
    form: output.Output = output.Format.TABLE,
) -> None:
    """Put an image into a registry, and print its name there by digest.

    Only what is missing there is sent. The server does it, with the credentials that `docker login`
    or `podman login` have left for its user; plain HTTP is spoken with this machine only.
    """
    with session.client() as yard:
        pushed = yard.images.push(image, to, on_log=progress.log_line)
    output.say(f"pushed {pushed.image}: {size_text(pushed.uploaded)} sent")
    if form is output.Format.JSON:
        output.data_json(pushed.model_dump(mode="json"))
    else:
        output.data(f"{pushed.to}@{pushed.digest}")


def pull(
    source: Annotated[
        str, typer.Argument(help="Name there, with `:tag` or `@sha256:…`.", metavar="NAME")
    ],
    name: Name = None,
    tags: parameters.Tags = None,
    properties: parameters.Properties = None,
    description: parameters.Description = None,
    signed: Signed = False,
    form: output.Output = output.Format.TABLE,
) -> None:
    """Take in an image from a registry, and print its reference.

    Everything is compared with what it promises to be, and it is started once where this host can;
    layers that are here are not fetched.
    """
    with session.client() as yard:
        image = yard.images.pull(
            source,
            name=name,
            tags=parameters.pairs(tags),
            properties=parameters.pairs(properties),
            description=description or "",
            signed=signed,
            on_log=progress.log_line,
        )
    output.say(f"took in {image.reference}")
    show_reference(image, form)


def _default(name: str, version: int, form: ImageForm) -> str:
    return f"{name}-{version}" if form is ImageForm.CONTAINERFILE else f"{name}-{version}.tar"
