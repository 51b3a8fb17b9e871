"""What every `list`, `tag` and `delete` does alike: filters in, rows or labels out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, TypeVar, cast

from modelyard.cli import output, parameters
from modelyard.client.collection import Filters
from modelyard.domain.image import Image
from modelyard.domain.model import Model
from modelyard.domain.service import Service
from modelyard.domain.validation import compose
from modelyard.domain.values import Value
from modelyard.schemas import ChangeLabels

Item = TypeVar("Item", bound=Value)


def search_filters(**options: Any) -> Filters:
    """The filters that were given."""
    return cast("Filters", parameters.given(**options))


def show_all(
    form: output.Format,
    items: Iterable[Item],
    columns: Sequence[str],
    row: Callable[[Item], Sequence[output.Cell]],
    *,
    sentence: str | None = None,
    cut: Collection[str] = (),
) -> None:
    """Print what was found: one table, as by `output.table`, or one JSON array."""
    if form is output.Format.JSON:
        output.data_json([item.model_dump(mode="json") for item in items])
    else:
        output.table(columns, [row(item) for item in items], sentence=sentence, cut=cut)


def label_change(
    tags: list[str] | None,
    remove: list[str] | None,
    replace: bool,
    properties: list[str] | None,
    description: str | None,
) -> ChangeLabels:
    """The change that the options of `tag` ask for."""
    wanted: dict[str, Any] = {}
    if replace:
        wanted["tags"] = parameters.pairs(tags or [])
    elif tags:
        wanted["add_tags"] = parameters.pairs(tags)
    if remove:
        wanted["remove_tags"] = remove
    if properties:
        wanted["add_properties"] = parameters.pairs(properties)
    if description is not None:
        wanted["description"] = description
    if not wanted:
        raise parameters.nothing_given("give a tag, or an option that changes something")
    return compose(ChangeLabels, wanted, "the change")


def show_labels(item: Model | Image | Service, form: output.Format) -> None:
    """Print what `tag` left."""
    if form is output.Format.JSON:
        output.data_json(item.model_dump(mode="json"))
        return
    output.fields(
        [
            ("tags", output.labels(item.tags)),
            ("properties", output.labels(item.properties)),
            ("description", item.description),
        ]
    )


def show_reference(item: Model | Image, form: output.Format) -> None:
    """Print the reference of what was made: all that a script needs of it."""
    if form is output.Format.JSON:
        output.data_json(item.model_dump(mode="json"))
    else:
        output.data(item.reference)


def show_deleted(reference: str, form: output.Format) -> None:
    """Say that something is gone."""
    output.say(f"deleted {reference}")
    if form is output.Format.JSON:
        output.data_json({"deleted": reference})
