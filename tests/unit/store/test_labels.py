"""The rule by which labels change, and what a search by text looks through."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.errors import Conflict
from modelyard.schemas import ChangeLabels
from modelyard.store.labels import Labels, changed, listed, words

ENTRIES = st.dictionaries(st.sampled_from("abc"), st.sampled_from(["", "1", "2"]))


def change(labels: Labels, **wanted: object) -> Labels:
    return changed("model `iris`", labels, ChangeLabels.model_validate(wanted))


@given(ENTRIES, ENTRIES)
def test_no_change_changes_nothing(tags: dict[str, str], properties: dict[str, str]) -> None:
    labels = Labels(tags, properties)
    assert change(labels) == labels


@given(ENTRIES, ENTRIES, st.lists(st.sampled_from("abc")))
def test_tags_are_added_then_removed(
    tags: dict[str, str], added: dict[str, str], removed: list[str]
) -> None:
    after = change(Labels(tags, {}), add_tags=added, remove_tags=removed).tags
    assert after == {key: value for key, value in {**tags, **added}.items() if key not in removed}


@given(ENTRIES, ENTRIES)
def test_tags_are_replaced(tags: dict[str, str], wanted: dict[str, str]) -> None:
    assert change(Labels(tags, {}), tags=wanted).tags == wanted


@given(ENTRIES, ENTRIES)
def test_properties_never_change(properties: dict[str, str], added: dict[str, str]) -> None:
    if any(properties.get(key, value) != value for key, value in added.items()):
        with pytest.raises(Conflict, match="is already") as refused:
            change(Labels({}, properties), add_properties=added)
        assert "only added" in refused.value.hint
    else:
        after = change(Labels({}, properties), add_properties=added).properties
        assert after == {**properties, **added}


def test_words_are_folded_and_apart() -> None:
    text = words("Name", "Straße", Labels({"Key": "Value"}, {"p": "q"}))
    assert text == "name\nstrasse\nkey=value\np=q"


@pytest.mark.parametrize(
    ("users", "text"),
    [
        (["a:1"], "1 image: a:1"),
        (list("ab"), "2 images: a, b"),
        (list("abcdef"), "6 images: a, b, c, d, e, …"),
    ],
)
def test_users_are_listed_up_to_a_few(users: list[str], text: str) -> None:
    assert listed(users, "image") == text
