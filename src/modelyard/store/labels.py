"""Tags and properties: stored beside their owner, changed by one rule."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from modelyard.errors import Conflict
from modelyard.schemas import ChangeLabels
from modelyard.store.repository import insert_all
from modelyard.store.rows import (
    ImageLabelRow,
    ImageRow,
    LabelKind,
    ModelLabelRow,
    ModelRow,
    ServiceLabelRow,
    ServiceRow,
)

Labelled = ModelRow | ImageRow | ServiceRow
LabelRow = type[ModelLabelRow] | type[ImageLabelRow] | type[ServiceLabelRow]


class Labels(NamedTuple):
    """Both kinds of labels of one owner."""

    tags: dict[str, str]
    properties: dict[str, str]


def load(session: Session, row: LabelRow, owners: Iterable[int]) -> Mapping[int, Labels]:
    """The labels of many owners; empty ones for an owner without any."""
    found: dict[int, Labels] = defaultdict(lambda: Labels({}, {}))
    query = select(row.owner, row.kind, row.key, row.value)
    query = query.where(row.owner.in_(list(owners))).order_by(row.owner, row.key)
    for owner, kind, key, value in session.execute(query):
        labels = found[owner]
        (labels.tags if kind is LabelKind.TAG else labels.properties)[key] = value
    return found


def add(session: Session, row: LabelRow, workspace: str, owner: int, labels: Labels) -> None:
    """Store the labels of an owner that has none."""
    insert_all(
        session,
        row,
        (
            {"owner": owner, "kind": kind, "key": key, "value": value, "workspace": workspace}
            for kind, entries in zip(LabelKind, labels, strict=True)
            for key, value in entries.items()
        ),
    )


def replace(session: Session, row: LabelRow, workspace: str, owner: int, labels: Labels) -> None:
    """Store the labels of one owner in place of what it had."""
    session.execute(delete(row).where(row.owner == owner))
    add(session, row, workspace, owner, labels)


def changed(subject: str, labels: Labels, change: ChangeLabels) -> Labels:
    """The labels after a change.

    Raises:
        Conflict: A property exists with another value.
    """
    for key, value in change.add_properties.items():
        if labels.properties.get(key, value) != value:
            raise Conflict(
                f"property `{key}` of {subject} is already `{labels.properties[key]}`",
                hint="properties are only added; use a tag for what changes",
                details={"property": key, "value": labels.properties[key]},
            )
    tags = dict(labels.tags if change.tags is None else change.tags)
    tags.update(change.add_tags)
    for key in change.remove_tags:
        tags.pop(key, None)
    return Labels(tags, {**labels.properties, **change.add_properties})


def apply(
    session: Session, row: LabelRow, owner: Labelled, subject: str, change: ChangeLabels
) -> None:
    """Change the labels and the description of one owner.

    Raises:
        Conflict: A property exists with another value.
    """
    entries = changed(subject, load(session, row, [owner.seq])[owner.seq], change)
    replace(session, row, owner.workspace, owner.seq, entries)
    if change.description is not None:
        owner.description = change.description
    owner.words = words(owner.name, owner.description, entries)
    session.flush()


def folded(text: str) -> str:
    """Text in the form in which it is compared when case does not matter."""
    return text.casefold()


def words(name: str, description: str, labels: Labels) -> str:
    """What a search by text looks through: one line for each part, case folded."""
    pairs = [*labels.tags.items(), *labels.properties.items()]
    return folded("\n".join([name, description, *(f"{key}={value}" for key, value in pairs)]))


def listed(users: list[str], kind: str) -> str:
    """The first few of `users` in words: `2 images: a:1, b:3`."""
    shown = ", ".join(users[:5]) + (", …" if len(users) > 5 else "")
    return f"{len(users)} {kind}{'' if len(users) == 1 else 's'}: {shown}"
