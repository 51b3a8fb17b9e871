from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.agent.gateway import counters as module
from modelyard.agent.gateway.counters import (
    OWN,
    Figures,
    counters_in_memory,
    open_counters,
    read_counters,
)
from modelyard_runtime.families import SECONDS

A, B = "5f9a1c20-0000-4000-8000-000000000001", "5f9a1c20-0000-4000-8000-000000000002"


def test_what_is_counted_is_read_at_once(tmp_path: Path) -> None:
    counters = open_counters(tmp_path / "counters" / "0")
    series = counters.of("digits", A)
    series.answered(200, 0.003)
    series.answered(200, 0.004)
    series.answered(500, 120.0)
    counters.of("digits").refused(401)
    counters.of("digits").left_queue(0.3)
    read = read_counters(tmp_path / "counters")
    assert set(read) == {("digits", A), ("digits", OWN)}
    figures = read["digits", A]
    assert figures.by_status() == {200: 2, 500: 1}
    assert (figures.requests, figures.between(500, 599)) == (3, 1)
    assert figures.durations[SECONDS.index(0.005)] == 2
    assert figures.durations[-1] == 1
    assert figures.seconds == pytest.approx(120.007)
    assert read["digits", OWN].by_status() == {401: 1}
    assert sum(read["digits", OWN].durations) == 0
    assert read["digits", OWN].waits[SECONDS.index(0.5)] == sum(read["digits", OWN].waits) == 1
    assert read["digits", OWN].waited == 0.3
    assert sum(figures.waits) == 0


def test_processes_add_up_and_a_restarted_one_goes_on(tmp_path: Path) -> None:
    first, second = (open_counters(tmp_path / name) for name in "01")
    first.of("digits", A).answered(200, 0.1)
    second.of("iris", B)
    second.of("digits", A).answered(503, 0.1)
    again = open_counters(tmp_path / "0")
    again.of("digits", A).answered(200, 0.1)
    (tmp_path / ".2.part").write_bytes(b"on its way")
    read = read_counters(tmp_path)
    assert read["digits", A].by_status() == {200: 2, 503: 1}
    assert read["iris", B] == Figures()


def test_shapes_of_answers_are_counted_as_far_as_there_is_room(tmp_path: Path) -> None:
    first, second = (open_counters(tmp_path / name).of("digits", A).shapes for name in "01")
    for body in (b"[1, 2]", b"[3]", b'{"label": "x"}', b"[1,", b"[" * 5000, b"1" * 20_000):
        first.look_at(body)
    second.look_at(b"[4]")
    open_counters(tmp_path / "0").of("digits", A).shapes.look_at(b"[5]")
    figures = read_counters(tmp_path)["digits", A]
    assert figures.shapes == {"[number]": 4, "{label: text}": 1, "not JSON": 2}
    for number in range(20):
        first.look_at(b'{"%b": 1}' % (b"x" * 100 * number + b"%d" % number))
    figures = read_counters(tmp_path)["digits", A]
    assert (len(figures.shapes), figures.other_shapes) == (8, 15)


def test_a_status_beyond_all_others_spoils_nothing() -> None:
    counters = counters_in_memory()
    counters.of("digits", A).answered(999, 0.1)
    assert counters.of("digits", A).values[499] == 1


def test_a_service_that_is_gone_is_forgotten_and_an_earlier_deployment_is_not(
    tmp_path: Path,
) -> None:
    counters = open_counters(tmp_path / "0")
    for service, deployment in (("digits", A), ("digits", B), ("iris", A)):
        counters.of(service, deployment).answered(200, 0.1)
    held = counters.of("iris", A)
    counters.follow({("digits", OWN), ("digits", B)})
    held.answered(200, 0.1)
    assert set(read_counters(tmp_path)) == {("digits", A), ("digits", B)}
    assert read_counters(tmp_path)["digits", A].requests == 1


def test_when_there_is_no_room_the_earlier_ones_make_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_MOST_SERIES", 2)
    counters = open_counters(tmp_path / "0")
    counters.of("digits", A)
    counters.of("digits", B).answered(200, 0.1)
    counters.follow({("digits", B)})
    counters.of("iris", A).answered(200, 0.1)
    assert set(read_counters(tmp_path)) == {("digits", B), ("iris", A)}
    counters.follow({("digits", B), ("iris", A)})
    counters.of("iris", B).answered(200, 0.1)
    counters.of("iris", OWN).refused(401)
    assert set(read_counters(tmp_path)) == {("digits", B), ("iris", A)}
    assert len(caplog.records) == 1


def test_a_file_that_is_none_is_made_anew_and_not_read(tmp_path: Path) -> None:
    (tmp_path / "0").write_bytes(b"something else")
    assert read_counters(tmp_path) == {}
    open_counters(tmp_path / "0").of("digits", A).answered(200, 0.1)
    assert read_counters(tmp_path)["digits", A].requests == 1


def test_without_a_file_it_counts_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "counters").write_text("not a folder")
    open_counters(tmp_path / "counters" / "0").of("digits", A).answered(200, 0.1)
    assert "not told" in caplog.text
    assert read_counters(tmp_path / "counters") == {}
