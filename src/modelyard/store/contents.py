"""The models inside images, for the repositories of images and of services."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from modelyard.domain.values import Reference
from modelyard.store.rows import ImageModelRow


def models_inside(session: Session, images: Iterable[int]) -> dict[int, tuple[str, ...]]:
    """References of the models inside each image, in the order of the build."""
    query = (
        select(ImageModelRow.image, ImageModelRow.name, ImageModelRow.version)
        .where(ImageModelRow.image.in_(list(images)))
        .order_by(ImageModelRow.image, ImageModelRow.position)
    )
    return {
        image: tuple(f"{model.name}:{model.version}" for model in models)
        for image, models in groupby(session.execute(query), key=lambda row: row.image)
    }


def images_with(text: str) -> Select[int]:
    """The images that carry a model, given as `name` or `name:version`."""
    model = Reference.parse(text, "model")
    query = select(ImageModelRow.image).where(ImageModelRow.name == model.name)
    return query if model.version is None else query.where(ImageModelRow.version == model.version)
