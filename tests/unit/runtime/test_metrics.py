"""The figures of a replica, as a real parser of Prometheus text reads them."""

from __future__ import annotations

import itertools
import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from modelyard.domain.figures import KNOWN, SERVER
from modelyard_runtime.board import Board
from modelyard_runtime.families import FAMILIES, PROTOCOLS, REFUSALS, SECONDS, SIZES
from modelyard_runtime.metrics import Metrics, Observations
from modelyard_runtime.slots import Slots

DOCUMENT = Path(__file__).parents[3] / "docs" / "reference" / "metrics.md"


def read(metrics: Metrics, board: Board | None = None) -> dict[tuple[str, str], float]:
    """Every sample by its name and its label values."""
    text = metrics.text(board or Board(1)).decode()
    return {
        (sample.name, ",".join(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_counts_answers_by_protocol_and_status() -> None:
    metrics = Metrics(Slots(1), 0)
    metrics.answered("score", 200, 0.01)
    metrics.answered("score", 200, 0.02)
    metrics.answered("infer", 503, 0.03)
    values = read(metrics)
    assert values["modelyard_requests_total", "score,200"] == 2
    assert values["modelyard_requests_total", "infer,503"] == 1
    assert ("modelyard_requests_total", "score,404") not in values
    assert values["modelyard_request_duration_seconds_count", "score"] == 2
    assert values["modelyard_request_duration_seconds_sum", "score"] == pytest.approx(0.03)
    assert values["modelyard_request_duration_seconds_bucket", "score,0.01"] == 1
    assert values["modelyard_request_duration_seconds_bucket", "score,0.025"] == 2


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_status_has_its_own_slot(protocol: str) -> None:
    metrics = Metrics(Slots(1), 0)
    for status in (100, 200, 599):
        metrics.answered(protocol, status, 1)
    values = read(metrics)
    for status in (100, 200, 599):
        assert values["modelyard_requests_total", f"{protocol},{status}"] == 1


def test_a_status_that_is_none_counts_as_500() -> None:
    metrics = Metrics(Slots(1), 0)
    metrics.answered("mlflow", 999, 1)
    assert read(metrics)["modelyard_requests_total", "mlflow,500"] == 1


def test_stages_waits_and_batches() -> None:
    metrics = Metrics(Slots(1), 0)
    metrics.scored(0.5, 0.1, 0.3)
    metrics.ran(0.2)
    metrics.batched(3, 70)
    values = read(metrics)
    assert values["modelyard_queue_wait_seconds_sum", ""] == 0.5
    for stage, seconds in (("decode", 0.1), ("run", 0.2), ("encode", 0.3)):
        assert values["modelyard_stage_duration_seconds_sum", stage] == seconds
    assert values["modelyard_batch_requests_bucket", "2"] == 0
    assert values["modelyard_batch_requests_bucket", "4"] == 1
    assert values["modelyard_batch_rows_sum", ""] == 70


def test_refusals_and_answers_that_are_no_numbers() -> None:
    metrics = Metrics(Slots(1), 0)
    for reason in REFUSALS:
        metrics.refused(reason)
    metrics.non_finite()
    values = read(metrics)
    assert all(values["modelyard_requests_refused_total", reason] == 1 for reason in REFUSALS)
    assert values["modelyard_non_finite_answers_total", ""] == 1


def test_workers_are_added_up() -> None:
    slots = Slots(3)
    workers = [Metrics(slots, number) for number in range(3)]
    for worker in workers:
        worker.answered("score", 200, 0.1)
        worker.gauges = lambda: (5, 2)
        worker.publish()
    values = read(workers[0])
    assert values["modelyard_requests_total", "score,200"] == 3
    assert values["modelyard_requests_in_flight", ""] == 15
    assert values["modelyard_queue_length", ""] == 6


def test_a_successor_goes_on_counting() -> None:
    slots = Slots(1)
    first = Metrics(slots, 0)
    first.gauges = lambda: (5, 2)
    first.answered("score", 200, 0.1)
    first.publish()
    second = Metrics(slots, 0)
    second.answered("score", 200, 0.1)
    values = read(second)
    assert values["modelyard_requests_total", "score,200"] == 2
    assert values["modelyard_requests_in_flight", ""] == 0


def test_who_is_leaving_writes_over_nothing_of_a_successor() -> None:
    slots = Slots(1)
    leaving = Metrics(slots, 0)
    leaving.answered("score", 200, 0.01)
    leaving.hand_over()
    successor = Metrics(slots, 0)
    successor.answered("score", 200, 0.01)
    successor.publish()
    leaving.answered("score", 504, 0.01)
    leaving.publish()
    values = read(successor)
    assert values["modelyard_requests_total", "score,200"] == 2
    assert ("modelyard_requests_total", "score,504") not in values


def test_other_processes_see_what_is_published() -> None:
    slots = Slots(2)
    pid = os.fork()
    if pid == 0:
        child = Metrics(slots, 1)
        child.answered("score", 200, 0.1)
        child.publish()
        os._exit(0)
    os.waitpid(pid, 0)
    assert read(Metrics(slots, 0))["modelyard_requests_total", "score,200"] == 1


def test_the_pool_and_its_processes() -> None:
    board = Board(2)
    board.set_ready(0, True)
    board.set_pid(0, os.getpid())
    board.restarts = 4
    values = read(Metrics(Slots(2), 0), board)
    assert values["modelyard_workers", ""] == 2
    assert values["modelyard_workers_ready", ""] == 1
    assert values["modelyard_worker_restarts_total", ""] == 4
    assert values["modelyard_process_resident_memory_bytes", "0"] > 1e6
    assert ("modelyard_process_resident_memory_bytes", "1") not in values


def test_a_process_that_has_gone_is_left_out() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    board = Board(1)
    board.set_pid(0, pid)
    values = read(Metrics(Slots(1), 0), board)
    assert ("modelyard_process_resident_memory_bytes", "0") not in values


def test_processor_time_goes_on_with_a_successor() -> None:
    slots = Slots(1)
    first = read(Metrics(slots, 0))["modelyard_cpu_seconds_total", ""]
    second = read(Metrics(slots, 0))["modelyard_cpu_seconds_total", ""]
    assert 0 < 2 * first <= second + 1e-9


@given(
    st.lists(st.floats(min_value=0, max_value=1e4) | st.sampled_from(SECONDS), max_size=50),
    st.sampled_from([SECONDS, SIZES]),
    st.booleans(),
)
def test_every_observation_is_in_the_bucket_it_fits(
    values: list[float], bounds: tuple[float, ...], at_once: bool
) -> None:
    slots = [0.0] * (len(bounds) + 3)
    observations = Observations(slots, 1, bounds)
    if at_once:
        observations.extend([*values])
    else:
        for value in values:
            observations.add(value)
    for _ in range(2):
        observations.fold()
    assert slots[0] == 0
    edges = [-1.0, *bounds, float("inf")]
    for number, (low, high) in enumerate(itertools.pairwise(edges)):
        assert slots[1 + number] == sum(low < value <= high for value in values)
    assert slots[-1] == pytest.approx(sum(values))


@given(st.floats(min_value=0, max_value=1e4) | st.sampled_from(SECONDS), st.integers(0, 9))
def test_what_was_measured_several_times_counts_as_often(value: float, count: int) -> None:
    slots, others = [0.0] * (len(SECONDS) + 2), [0.0] * (len(SECONDS) + 2)
    Observations(slots, 0, SECONDS).repeat(value, count)
    Observations(others, 0, SECONDS).extend([value] * count)
    assert slots == pytest.approx(others)


def families(text: str) -> list[Any]:
    return list(text_string_to_metric_families(text))


def test_names_kinds_and_explanations() -> None:
    for family in families(Metrics(Slots(1), 0).text(Board(1)).decode()):
        assert family.name.startswith("modelyard_")
        assert family.documentation.endswith(".")
        assert family.type in ("counter", "gauge", "histogram")
        assert not re.search(r"_(ms|us|kb|mb|minutes)\b", family.name)


def test_the_reference_page_lists_exactly_these() -> None:
    text = Metrics(Slots(1), 0).text(Board(1)).decode()
    told = {family.name: family.kind for family in (*KNOWN.values(), *SERVER)}
    served = dict(re.findall(r"# TYPE (\S+) (\S+)", text)) | told
    documented = dict(re.findall(r"^\| `(modelyard_\w+)` \| (\w+) \|", DOCUMENT.read_text(), re.M))
    assert documented == served


def test_the_reference_page_lists_labels_and_bounds() -> None:
    page = DOCUMENT.read_text()
    for family in FAMILIES:
        row = next(line for line in page.splitlines() if f"`{family.name}`" in line)
        assert all(f"`{name}`" in row for name, _ in family.labels)
    for name in (*PROTOCOLS, *REFUSALS):
        assert f"`{name}`" in page
    assert ", ".join(f"{bound:g}" for bound in SECONDS) in " ".join(page.split())
    assert ", ".join(f"{bound:g}" for bound in SIZES) in " ".join(page.split())
