"""Generators: what each item becomes, and what a failure before and after the first one does."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from tests.unit.runtime.conftest import Load

from modelyard_runtime.causes import Cause
from modelyard_runtime.http.sending import Broken
from modelyard_runtime.http.server import Headers, Request, Response
from modelyard_runtime.protocols.base import Protocol
from modelyard_runtime.protocols.score import ScoreProtocol
from modelyard_runtime.scoring import Call, Scorer, asking
from modelyard_runtime.signature import Arguments
from modelyard_runtime.streaming import AsyncParts, Parts

LINES = b"application/x-ndjson"


class Whole(Protocol):
    """A protocol that knows no answers in parts."""

    name = "infer"

    def decode(self, request: Request) -> Arguments:
        return {"data": request.body}

    def encode(self, result: Any, request: Request) -> Response:
        return Response(200, json.dumps(result).encode())


class Script:
    def __init__(self, load_script: Load, text: str) -> None:
        self.failures: list[Cause] = []
        self.entry = load_script(text)
        self._scorer = Scorer(self.entry, self.failures.append)

    def call(self, protocol: Protocol | None = None) -> Call:
        request = Request("POST", "/score", "", Headers([]), b"")
        return Call(
            self._scorer,
            request,
            asking(request.head, protocol or ScoreProtocol(self.entry.signature)),
        )


def begun(call: Call) -> tuple[Response, Parts]:
    response = call.execute()
    assert isinstance(call.parts, Parts)
    return response, call.parts


@pytest.mark.parametrize(
    ("items", "kind", "parts"),
    [
        ("{'a': 1}, [float('nan')], None", LINES, [b'{"a":1}\n', b"[null]\n", b"null\n"]),
        ("'é', 'b'", b"text/plain; charset=utf-8", ["é".encode(), b"b"]),
        ("b'\\xff', bytearray(b'b')", b"application/octet-stream", [b"\xff", b"b"]),
        ("'a', 1, b'c'", b"text/plain; charset=utf-8", [b"a", b"1\n", b"c"]),
    ],
)
def test_items_are_parts(load_script: Load, items: str, kind: bytes, parts: list[bytes]) -> None:
    script = Script(load_script, f"def run(data):\n    yield from ({items},)")
    assert script.entry.streams
    assert not script.entry.is_async
    response, found = begun(script.call())
    assert (response.status, response.body) == (200, b"")
    assert dict(response.headers)[b"content-type"] == kind
    assert b"x-request-id: " in response.encoded
    assert list(found) == parts


def test_no_items_are_an_empty_answer(load_script: Load) -> None:
    response, parts = begun(Script(load_script, "def run(data):\n    yield from ()").call())
    assert dict(response.headers)[b"content-type"] == LINES
    assert list(parts) == []


def test_what_fails_before_the_first_item_is_an_error(load_script: Load) -> None:
    script = Script(load_script, "def run(data):\n    1 / 0\n    yield 1")
    call = script.call()
    assert call.execute().status == 500
    assert call.parts is None
    assert "(score.py, line 2)" in script.failures[0].message


@pytest.mark.parametrize("failure", ["1 / 0", "yield object()", "raise SystemExit"])
def test_what_fails_later_is_told_once_and_breaks_off(
    load_script: Load, failure: str, capsys: pytest.CaptureFixture[str]
) -> None:
    script = Script(load_script, f"def run(data):\n    yield 'a'\n    {failure}")
    _, parts = begun(script.call())
    assert next(parts) == b"a"
    with pytest.raises(Broken):
        next(parts)
    assert len(script.failures) == 1
    assert capsys.readouterr().err.startswith("request ")


def test_closing_ends_the_generator(load_script: Load) -> None:
    lines = (
        "ends = []",
        "def run(data):",
        " try: yield ends",
        " finally: ends.append(1)",
    )
    script = Script(load_script, "\n".join(lines))
    _, parts = begun(script.call())
    parts.close()
    assert list(begun(script.call())[1]) == [b"[1]\n"]


def test_other_protocols_get_all_as_a_list(load_script: Load) -> None:
    call = Script(load_script, "def run(data):\n    yield 1\n    yield 2").call(Whole())
    assert call.execute().body == b"[1, 2]"
    assert call.parts is None


class TestAsync:
    def answer(self, script: Script, protocol: Protocol | None = None) -> tuple[Response, Any]:
        async def answered() -> tuple[Response, Any]:
            call = script.call(protocol)
            response = await call.execute_async()
            if not isinstance(call.parts, AsyncParts):
                return response, None
            try:
                return response, [part async for part in call.parts]
            except Broken as error:
                return response, error
            finally:
                await call.parts.aclose()

        assert script.entry.is_async
        return asyncio.run(answered())

    def test_items_are_parts(self, load_script: Load) -> None:
        script = Script(load_script, "async def run(data):\n    yield 1\n    yield 'b'")
        response, parts = self.answer(script)
        assert dict(response.headers)[b"content-type"] == LINES
        assert parts == [b"1\n", b"b"]
        assert self.answer(script, Whole())[0].body == b'[1, "b"]'

    def test_no_items(self, load_script: Load) -> None:
        text = "async def run(data):\n    for item in ():\n        yield item"
        assert self.answer(Script(load_script, text))[1] == []

    def test_fails_before_and_after_the_first(self, load_script: Load) -> None:
        script = Script(load_script, "async def run(data):\n    1 / 0\n    yield 1")
        response, parts = self.answer(script)
        assert (response.status, parts) == (500, None)
        script = Script(load_script, "async def run(data):\n    yield 1\n    1 / 0")
        assert isinstance(self.answer(script)[1], Broken)
        assert len(script.failures) == 1

    def test_what_it_awaits_is_cancelled(self, load_script: Load) -> None:
        lines = (
            "import asyncio",
            "async def run(data):",
            "    yield 1",
            "    asleep = asyncio.ensure_future(asyncio.sleep(60))",
            "    asleep.cancel()",
            "    await asleep",
        )
        script = Script(load_script, "\n".join(lines))
        assert isinstance(self.answer(script)[1], Broken)
        assert len(script.failures) == 1
