"""Lines of a script belong to the request that they were printed for."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO, TextIOWrapper

import pytest

from modelyard_runtime import speaking
from modelyard_runtime.speaking import SPEAKER, Output


@dataclass(frozen=True)
class Request:
    request_id: str


ONE, TWO = Request("one"), Request("two")


class Printer:
    """A stream, and what has reached it."""

    def __init__(self) -> None:
        self.raw = BytesIO()
        self.output = Output(TextIOWrapper(self.raw, "utf-8"))

    def print(self, *words: object, end: str = "\n") -> None:
        print(*words, end=end, file=self.output)

    def lines(self) -> list[str]:
        return self.raw.getvalue().decode().split("\n")[:-1]


@pytest.fixture
def printer() -> Printer:
    return Printer()


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads and pools as they are in a replica."""
    pool = concurrent.futures.ThreadPoolExecutor
    monkeypatch.setattr(pool, "submit", speaking._submitting(pool.submit))
    monkeypatch.setattr(threading.Thread, "start", speaking._starting(threading.Thread.start))


@pytest.fixture
def answering() -> Iterator[Callable[[Request | None], object]]:
    before = SPEAKER.get()
    yield SPEAKER.set
    SPEAKER.set(before)


def test_lines_of_two_requests_never_mix(
    printer: Printer, answering: Callable[[Request | None], object]
) -> None:
    printer.print("before", end=" ")
    printer.print("all")
    answering(ONE)
    printer.print("a", "b", end="")
    answering(TWO)
    printer.print("c\nd")
    answering(ONE)
    printer.print("!", {"x": 1})
    answering(None)
    printer.print("after")
    assert printer.lines() == [
        *("before all", "request two: c", "request two: d"),
        *("request one: a b! {'x': 1}", "after"),
    ]


def test_a_line_without_an_end_is_written_with_the_answer(
    printer: Printer, answering: Callable[[Request | None], object]
) -> None:
    answering(ONE)
    printer.print("half", end="")
    assert printer.lines() == []
    printer.output.finish(TWO)
    printer.output.finish(ONE)
    printer.output.finish(ONE)
    assert printer.lines() == ["request one: half"]
    assert not printer.output.unfinished


def test_what_does_not_end_is_not_kept_for_ever(
    printer: Printer, answering: Callable[[Request | None], object]
) -> None:
    answering(ONE)
    for _ in range(3):
        printer.print("x" * 5000, end="\r")
    assert len("".join(printer.lines())) > 10_000
    assert len(printer.output.unfinished[ONE]) < 10_000
    for number in range(3000):
        answering(Request(str(number)))
        printer.print("y", end="")
    assert len(printer.output.unfinished) <= 1000


@pytest.mark.usefixtures("threads")
def test_threads_that_a_request_starts_belong_to_it(
    printer: Printer, answering: Callable[[Request | None], object]
) -> None:
    answering(ONE)
    thread = threading.Thread(target=printer.print, args=["thread"])
    thread.start()
    thread.join()
    daemon = threading.Thread(target=printer.print, args=["daemon"], daemon=True)
    daemon.start()
    daemon.join()
    assert printer.lines() == ["request one: thread", "daemon"]


@pytest.mark.usefixtures("threads")
def test_the_threads_of_a_pool_belong_to_whoever_gives_them_work(
    printer: Printer, answering: Callable[[Request | None], object]
) -> None:
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        for request in (ONE, TWO, None):
            answering(request)
            pool.submit(printer.print, "pool", end="\n").result()
        answering(ONE)
        list(pool.map(printer.print, ["map"]))
    assert printer.lines() == [
        *("request one: pool", "request two: pool", "pool", "request one: map"),
    ]


@pytest.mark.usefixtures("threads")
def test_coroutines_belong_to_their_own_request(printer: Printer) -> None:
    async def answer(request: Request, first: asyncio.Event, then: asyncio.Event) -> None:
        SPEAKER.set(request)
        printer.print("begin", end=" ")
        first.set()
        await then.wait()
        await asyncio.gather(asyncio.to_thread(printer.print, "thread"), task())
        printer.print("end")

    async def task() -> None:
        await asyncio.sleep(0)

    async def both() -> None:
        one, two = asyncio.Event(), asyncio.Event()
        await asyncio.gather(answer(ONE, one, two), answer(TWO, two, one))

    asyncio.run(both())
    assert sorted(printer.lines()) == sorted(
        f"request {name}: {text}" for name in ("one", "two") for text in ("begin thread", "end")
    )


def test_lines_of_ours_come_in_one_piece(capsys: pytest.CaptureFixture[str]) -> None:
    speaking.say(ONE, "`run()` raised\nTraceback")
    assert capsys.readouterr().err == "request one: `run()` raised\nrequest one: Traceback\n"
