from __future__ import annotations

import pytest
from tests.replays import recorded

from modelyard.domain.difference import Answer, Tolerance
from modelyard.domain.reproduction import reproduce


def test_numbers_are_said_to_be_so_far_apart() -> None:
    found = reproduce(
        recorded(output=b"[0]", output_size=3),
        [Answer(200, b"[1]")],
        Tolerance(),
        service="iris",
        digest=f"sha256:{'0' * 64}",
        circumstances=(),
    )
    assert found.verdict.endswith("0 before and 1 now, 1 apart.")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"a": "hmac:0123"}', "A rule has altered the recorded input;"),
        (b'{"a":1}', "A rule may have altered the recorded input;"),
    ],
)
def test_only_what_leaves_a_trace_is_said_to_be_altered(body: bytes, words: str) -> None:
    found = reproduce(
        recorded(input=body, input_size=40),
        [Answer(200, b"[0.5]")],
        Tolerance(),
        service="iris",
        digest=f"sha256:{'0' * 64}",
        circumstances=(),
    )
    assert found.equal is True
    assert found.reasons[0].startswith(words)
