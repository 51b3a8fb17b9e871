from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.unit.agent.making import make_desired, make_service

from modelyard.agent.desired import DesiredStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "desired.json"


def test_nothing_is_wanted_before_a_server_said_something(path: Path) -> None:
    assert DesiredStore(path).current is None


def test_accepted_state_is_there_in_the_next_life(path: Path) -> None:
    state = make_desired(make_service())
    assert DesiredStore(path).accept(state)
    assert DesiredStore(path).current == state


@pytest.mark.parametrize(
    ("fence", "generation", "newer"),
    [(1, 9, False), (2, 4, False), (2, 5, False), (2, 6, True), (3, 0, True), (3, 9, True)],
)
def test_only_newer_states_are_accepted(
    path: Path, fence: int, generation: int, newer: bool
) -> None:
    store = DesiredStore(path)
    store.accept(make_desired(fence=2, generation=5))
    assert store.accept(make_desired(fence=fence, generation=generation)) is newer
    expected = (fence, generation) if newer else (2, 5)
    for seen in (store.current, DesiredStore(path).current):
        assert seen is not None
        assert (seen.fence, seen.generation) == expected


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-20],
        lambda text: text.replace("digits", "digitz"),
        lambda text: "[]",
        lambda text: json.dumps({"sha256": "", "document": 7}),
        lambda text: "",
    ],
)
def test_damaged_document_is_not_obeyed(path: Path, damage: object) -> None:
    DesiredStore(path).accept(make_desired(make_service()))
    assert callable(damage)
    path.write_text(damage(path.read_text()))
    store = DesiredStore(path)
    assert store.current is None
    assert store.accept(make_desired())


def test_only_the_owner_may_read_it(path: Path) -> None:
    DesiredStore(path).accept(make_desired())
    assert path.stat().st_mode & 0o077 == 0
