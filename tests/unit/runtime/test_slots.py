"""The file that a replica's figures are kept in: whole, of a former life, damaged, hostile."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard_runtime.metrics import Metrics
from modelyard_runtime.slots import Slots, read_slots

REQUESTS, DURATIONS = "modelyard_requests_total", "modelyard_request_duration_seconds"
OK = 'protocol="score",status="200"'
HEAD = 16 << 10


def counted(path: Path, workers: int = 2, times: int = 3) -> Slots:
    slots = Slots(workers, str(path))
    for worker in range(workers):
        metrics = Metrics(slots, worker)
        metrics.gauges = lambda: (5, 2)
        for _ in range(times):
            metrics.answered("score", 200, 0.02)
        metrics.publish()
    return slots


def test_a_file_tells_what_all_workers_counted(tmp_path: Path) -> None:
    counted(tmp_path / "figures")
    figures = read_slots((tmp_path / "figures").read_bytes())
    assert figures[REQUESTS] == {OK: [6]}
    *buckets, total = figures[DURATIONS]['protocol="score"']
    assert sum(buckets) == 6
    assert total == pytest.approx(0.12)
    assert figures["modelyard_requests_in_flight"] == {"": [10]}
    assert figures["modelyard_cpu_seconds_total"][""][0] > 0
    assert figures["modelyard_non_finite_answers_total"] == {"": [0]}


def test_the_next_replica_goes_on_counting_and_nothing_is_in_flight(tmp_path: Path) -> None:
    counted(tmp_path / "figures")
    Slots(2, str(tmp_path / "figures"))
    figures = read_slots((tmp_path / "figures").read_bytes())
    assert figures["modelyard_requests_in_flight"] == {"": [0]}
    counted(tmp_path / "figures")
    figures = read_slots((tmp_path / "figures").read_bytes())
    assert figures[REQUESTS] == {OK: [12]}
    assert os.listdir(tmp_path) == ["figures"]


@pytest.mark.parametrize("spoil", [lambda b: b[:-8], lambda b: b"{}" + b[2:], lambda b: b""])
def test_another_kind_of_file_is_replaced(tmp_path: Path, spoil: object) -> None:
    path = tmp_path / "figures"
    counted(path)
    path.write_bytes(spoil(path.read_bytes()))  # type: ignore[operator]
    counted(path)
    assert read_slots(path.read_bytes())[REQUESTS] == {OK: [6]}


def test_a_replica_of_another_size_begins_anew(tmp_path: Path) -> None:
    counted(tmp_path / "figures")
    counted(tmp_path / "figures", workers=1)
    assert read_slots((tmp_path / "figures").read_bytes())[REQUESTS] == {OK: [3]}


def test_without_a_place_for_the_file_it_counts_all_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slots = counted(tmp_path / "missing" / "figures")
    assert sum(slots.total()) > 6
    assert "figures are not kept" in capsys.readouterr().err


def document(path: Path) -> tuple[dict[str, object], bytes]:
    counted(path)
    data = path.read_bytes()
    return orjson.loads(data[:HEAD]), data[HEAD:]


def rewritten(head: dict[str, object], body: bytes) -> bytes:
    return orjson.dumps(head).ljust(HEAD) + body


def test_what_is_not_ours_is_left_out(tmp_path: Path) -> None:
    head, body = document(tmp_path / "figures")
    families = head["families"]
    assert isinstance(families, list)
    families[0][1][1][1][0] = '100"} 1\nmodelyard_made_up{x="'  # a label that breaks out
    families[1][2][0] = 17.0  # other bounds
    families.append(["modelyard_made_up_total", [], [], 0])
    figures = read_slots(rewritten(head, body))
    assert REQUESTS not in figures
    assert DURATIONS not in figures
    assert "modelyard_made_up_total" not in figures
    assert "modelyard_queue_wait_seconds" in figures


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_values_that_nobody_counted_are_left_out(tmp_path: Path, value: float) -> None:
    slots = counted(tmp_path / "figures", workers=1)
    slots.of(0)[100] = value  # a status of the first protocol: 200
    assert read_slots((tmp_path / "figures").read_bytes())[REQUESTS] == {}


@pytest.mark.parametrize(
    "changes",
    [
        {"workers": 10**9},
        {"workers": -1},
        {"width": 0},
        {"width": None},
        {"families": 5},
        {"families": [["modelyard_cpu_seconds_total", [], [], 10**9]]},
        {"families": [["modelyard_cpu_seconds_total", [], [], -1]]},
        {"families": [[]]},
    ],
)
def test_a_head_that_lies_is_refused(tmp_path: Path, changes: dict[str, object]) -> None:
    head, body = document(tmp_path / "figures")
    with pytest.raises(ValueError, match=r"."):
        read_slots(rewritten({**head, **changes}, body))


@given(st.binary(max_size=200), st.integers(0, 3000))
def test_any_bytes_are_figures_or_refused(start: bytes, length: int) -> None:
    with contextlib.suppress(ValueError):
        read_slots(start + bytes(length))
