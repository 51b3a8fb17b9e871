"""Everything the fuzzer has ever found worth keeping, and what it began with, still holds."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.faults.fuzz.seeds import seeds
from tests.faults.fuzz.target import SCRIPTS, check, exchange

CORPUS = Path(__file__).parent / "corpus"


@pytest.mark.parametrize("script", range(len(SCRIPTS)), ids=[run.__name__ for run in SCRIPTS])
@pytest.mark.parametrize("step", [1, 7, 60])
def test_seeds(script: int, step: int) -> None:
    first = bytes([script + len(SCRIPTS) * (step - 1)])
    for sent in seeds():
        check(first + sent)


def test_seeds_reach_the_scripts() -> None:
    answers = b"".join(exchange(0, [sent]) for sent in seeds())

    assert answers.count(b"HTTP/1.1 200") > 10
    assert b"[4.5]" in answers


def test_corpus() -> None:
    files = sorted(CORPUS.iterdir())

    assert files
    for file in files:
        check(file.read_bytes())
