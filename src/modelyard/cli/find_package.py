"""`modelyard find-package`: where a package is, so that one with a hole can be replaced."""

from __future__ import annotations

from typing import Annotated

import typer

from modelyard.cli import output, parameters, session
from modelyard.domain.packages import PackageUse

app = parameters.commands()


@app.command()
def find_package(
    requirement: Annotated[
        str,
        typer.Argument(
            help="Name of a package, with versions if only those are meant: `jinja2<3.1.4`.",
            metavar="REQUIREMENT",
        ),
    ],
    form: output.Output = output.Format.TABLE,
) -> None:
    """Say which images and services contain a package."""
    with session.client() as yard:
        found = list(yard.images.find_package(requirement))
    if form is output.Format.JSON:
        output.data_json([use.model_dump(mode="json") for use in found])
    elif found:
        output.table(("IMAGE", "PACKAGE", "SERVICES"), [_row(use) for use in found])
    images = "1 image" if len(found) == 1 else f"{len(found) or 'no'} images"
    services = {service for use in found for service in use.services}
    output.say(f"{images} with {requirement}; services: {', '.join(sorted(services)) or 'none'}")


def _row(use: PackageUse) -> list[output.Cell]:
    return [use.image, f"{use.package} {use.version}", ", ".join(use.services)]
