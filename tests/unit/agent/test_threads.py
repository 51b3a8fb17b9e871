from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.unit.agent.making import make_desired, make_service

from modelyard.agent.desired import DesiredStore
from modelyard.agent.source import Tagged
from modelyard.agent.telemetry.collector import Collector
from modelyard.agent.threads import FiguresSender, Reporter, Watcher
from modelyard.domain.desired import DesiredState
from modelyard.domain.observed import ObservedState
from modelyard.domain.telemetry import HostFigures, Minute
from modelyard.errors import ServerUnreachable


class Source:
    """Answers what it is given; remembers what it was asked."""

    def __init__(self, *answers: DesiredState | None) -> None:
        self.answers = list(answers)
        self.tags: list[str | None] = []
        self.published: list[ObservedState] = []

    def desired(self, tag: str | None, wait: float) -> Tagged | None:
        self.tags.append(tag)
        state = self.answers.pop(0)
        return Tagged(state, f"{state.fence}.{state.generation}") if state else None

    def publish(self, observed: ObservedState) -> None:
        self.published.append(observed)


class Bench:
    def __init__(self, folder: Path, source: Source) -> None:
        self.store = DesiredStore(folder / "desired.json")
        self.woken = 0
        self.watcher = Watcher(source, self.store, self._wake)  # type: ignore[arg-type]

    def _wake(self) -> None:
        self.woken += 1


def test_news_is_kept_and_wakes_the_loop(tmp_path: Path) -> None:
    source = Source(make_desired(generation=3), None)
    bench = Bench(tmp_path, source)
    bench.watcher.exchange()
    bench.watcher.exchange()
    assert bench.store.current == make_desired(generation=3)
    assert (bench.woken, source.tags) == (1, [None, "1.3"])


def test_stale_news_is_ignored_but_not_asked_for_again(tmp_path: Path) -> None:
    source = Source(make_desired(fence=2), make_desired(fence=1, generation=9), None)
    bench = Bench(tmp_path, source)
    for _ in range(3):
        bench.watcher.exchange()
    assert bench.store.current == make_desired(fence=2)
    assert (bench.woken, source.tags) == (1, [None, "2.1", "1.9"])


def test_state_that_cannot_be_kept_is_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Source(make_desired(), make_desired())
    bench = Bench(tmp_path, source)
    (tmp_path / "desired.json").mkdir()
    with pytest.raises(OSError, match="desired"):
        bench.watcher.exchange()
    (tmp_path / "desired.json").rmdir()
    bench.watcher.exchange()
    assert source.tags == [None, None]
    assert bench.woken == 1


def test_only_the_newest_report_is_sent() -> None:
    source = Source()
    reporter = Reporter(source)  # type: ignore[arg-type]
    for generation in (1, 2):
        reporter.report(ObservedState(agent="a", fence=1, generation=generation), news=True)
    reporter.exchange()
    assert [observed.generation for observed in source.published] == [2]


class FiguresSource:
    """A server for figures that may be away."""

    def __init__(self) -> None:
        self.away = False
        self.told: list[HostFigures] = []
        self.minutes: list[float] = []

    def send_figures(self, figures: HostFigures) -> None:
        self._answer()
        self.told.append(figures)

    def send_minutes(self, minutes: Sequence[Minute]) -> None:
        self._answer()
        self.minutes += [minute.begins.timestamp() / 60 for minute in minutes]

    def _answer(self) -> None:
        if self.away:
            raise ServerUnreachable("no answer")


def test_minutes_wait_until_the_server_takes_them(tmp_path: Path) -> None:
    now = [0.0]
    source = FiguresSource()
    collector = Collector(tmp_path / "figures.json", tmp_path / "counters", lambda: now[0])
    collector.follow(make_desired(make_service()), [])
    sender = FiguresSender(source, collector)  # type: ignore[arg-type]
    sender.close()  # it does not wait between two exchanges then
    for minute in range(1, 50):
        now[0] = minute * 60.0
        source.away = 10 < minute < 49
        if source.away:
            with pytest.raises(ServerUnreachable):
                sender.exchange()
        else:
            sender.exchange()
    assert source.minutes == [float(minute) for minute in range(1, 49)]
    assert len(source.told) == 11
    assert not collector.waiting
