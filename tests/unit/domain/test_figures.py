"""Sums, differences and quantiles of figures, and the text that they are written as."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from modelyard.domain import figures
from modelyard.domain.figures import KNOWN, SERVED, add, check, quantile, since, went_back, write
from modelyard_runtime.families import SECONDS, Figures
from modelyard_runtime.metrics import Observations

REQUESTS, WAITS, IN_FLIGHT = (
    "modelyard_requests_total",
    "modelyard_queue_wait_seconds",
    "modelyard_requests_in_flight",
)
OK, BAD = 'protocol="score",status="200"', 'protocol="score",status="500"'


def some(ok: float, in_flight: float = 0, **more: Any) -> Figures:
    return {REQUESTS: {OK: [ok]}, IN_FLIGHT: {"": [in_flight]}, **more}


def test_figures_add_up_whatever_is_missing() -> None:
    both = add([some(3, 1), some(4, 2), {REQUESTS: {BAD: [5]}}])
    assert both == {REQUESTS: {OK: [7], BAD: [5]}, IN_FLIGHT: {"": [3]}}


def test_a_sum_changes_nothing_that_went_into_it() -> None:
    one = some(3)
    add([one, some(4)])
    assert one == some(3)


def test_a_difference_has_what_was_counted_in_between_and_gauges_as_they_are() -> None:
    assert since(some(7, 2), some(3, 5)) == some(4, 2)
    assert since(some(7, 2), {}) == some(7, 2)
    assert since(some(7), some(7))[REQUESTS] == {}


def test_counting_anew_is_noticed() -> None:
    assert went_back(some(3), some(4))
    assert went_back({}, some(4))
    assert not went_back(some(4, 0), some(4, 9))


@given(st.lists(st.floats(0.0001, 59), min_size=1, max_size=200), st.sampled_from([0.5, 0.9, 0.99]))
def test_a_quantile_lies_in_the_bucket_of_the_true_one(values: list[float], share: float) -> None:
    slots = [0.0] * (len(SECONDS) + 2)
    Observations(slots, 0, SECONDS).extend([*values])
    true = sorted(values)[max(0, -int(-share * len(values) // 1) - 1)]
    found = quantile(slots[:-1], SECONDS, share)
    assert found is not None
    upper = next(bound for bound in SECONDS if bound >= true)
    lower = max((bound for bound in SECONDS if bound < true), default=0.0)
    assert lower <= found <= upper


def test_quantiles_of_nothing_and_beyond_the_last_bound() -> None:
    empty = [0.0] * (len(SECONDS) + 1)
    assert quantile(empty, SECONDS, 0.5) is None
    assert quantile([*empty[:-1], 3.0], SECONDS, 0.5) == 60.0


def test_totals_of_numbers_and_histograms() -> None:
    one: Figures = {REQUESTS: {OK: [3], BAD: [2]}, WAITS: {"": [1.0] * 20 + [0.5]}}
    assert figures.total(one, REQUESTS) == 5
    assert figures.total(one, REQUESTS, 'status="5') == 2
    assert figures.total(one, WAITS) == 20


def test_several_sources_become_one_text_that_parses() -> None:
    told = [(figures.label_text(image=f'a"\\\n{n}'), some(n + 1)) for n in range(3)]
    parsed = list(text_string_to_metric_families(write(told, SERVED).decode()))
    assert [family.name for family in parsed] == ["modelyard_requests", IN_FLIGHT]
    samples = parsed[0].samples
    assert [sample.value for sample in samples] == [1, 2, 3]
    assert samples[2].labels == {"image": 'a"\\\n2', "protocol": "score", "status": "200"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"modelyard_made_up": {"": [1.0]}},
        {REQUESTS: {OK: [1.0, 2.0]}},
        {WAITS: {"": [1.0]}},
        {REQUESTS: {'status="200"} 1\nother{x="': [1.0]}},
        {REQUESTS: {'status="200",': [1.0]}},
        {REQUESTS: {f'status="{n}"': [1.0] for n in range(2001)}},
    ],
)
def test_what_is_not_ours_is_refused(wrong: Figures) -> None:
    with pytest.raises(ValueError, match="modelyard_"):
        check(wrong)


def test_every_metric_of_ours_is_accepted() -> None:
    random.seed(1)
    for family in KNOWN.values():
        series = random.sample(family.series(), min(3, len(family.series())))
        check({family.name: {labels: [1.0] * family.width for labels in series}})
