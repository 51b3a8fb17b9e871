from __future__ import annotations

import pytest

from modelyard.agent.supervisor import system
from modelyard.agent.supervisor.memory import MemoryWatch


class Readings:
    """What the system says of the processes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.quick = 0
        self.exact: int | None = 0
        self.exact_reads = 0
        monkeypatch.setattr(system, "descendants", lambda root: [1, 2])
        monkeypatch.setattr(system, "resident", lambda pids: self.quick)
        monkeypatch.setattr(system, "proportional", self._read_exact)

    def _read_exact(self, pids: object) -> int | None:
        self.exact_reads += 1
        return self.exact


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> Readings:
    return Readings(monkeypatch)


def test_shared_memory_counts_once(readings: Readings) -> None:
    readings.quick, readings.exact = 300, 120
    assert MemoryWatch().look(1000, 10.0) == 120


def test_growth_shows_between_exact_reads(readings: Readings) -> None:
    watch = MemoryWatch()
    readings.quick, readings.exact = 300, 120
    watch.look(1000, 10.0)
    readings.quick = 350
    assert watch.look(1000, 10.25) == 170
    assert readings.exact_reads == 1


def test_exact_figure_decides_at_the_limit(readings: Readings) -> None:
    watch = MemoryWatch()
    readings.quick, readings.exact = 300, 120
    watch.look(1000, 10.0)
    readings.quick, readings.exact = 1300, 400
    assert watch.look(1000, 10.25) == 400
    readings.quick, readings.exact = 2300, 1400
    assert watch.look(1000, 10.5) == 1400
    assert watch.peak == 1400


def test_without_an_exact_figure_the_quick_one_counts(readings: Readings) -> None:
    readings.quick, readings.exact = 300, None
    assert MemoryWatch().look(1000, 10.0) == 300
