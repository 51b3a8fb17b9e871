"""One request through a script: input, call, output, ids, and every way to fail."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import replace

import pytest
from tests.unit.runtime.conftest import Load

from modelyard_runtime.causes import SAMPLE_FAILED, Cause
from modelyard_runtime.entry import Entry
from modelyard_runtime.http.encoding import written_fields
from modelyard_runtime.http.server import Headers, Request, Response
from modelyard_runtime.protocols.score import ScoreProtocol
from modelyard_runtime.request_headers import RequestHeaders
from modelyard_runtime.scoring import Call, Scorer, asking

UUID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def post(body: bytes = b"", *headers: tuple[bytes, bytes]) -> Request:
    return Request("POST", "/score", "", Headers(list(headers)), body)


def get(query: str) -> Request:
    return Request("GET", "/score", query, Headers([]), b"")


def fields(response: Response) -> dict[bytes, bytes]:
    return dict([*response.headers, *written_fields(response.encoded)])


def message(response: Response) -> str:
    return str(json.loads(response.body)["message"])


class Script:
    """A loaded script, asked as a lane would ask it."""

    def __init__(self, entry: Entry, failures: list[Cause]) -> None:
        self.entry = entry
        self._script = Scorer(entry, failures.append)
        self._protocol = ScoreProtocol(entry.signature)

    def call(self, request: Request) -> Call:
        return Call(self._script, request, asking(request.head, self._protocol))

    def answer(self, request: Request) -> Response:
        return self.call(request).execute()


class Scripts:
    def __init__(self, load_script: Load) -> None:
        self._load = load_script
        self.failures: list[Cause] = []

    def __call__(self, script: str) -> Script:
        return Script(self._load(script), self.failures)


@pytest.fixture
def scripts(load_script: Load) -> Scripts:
    return Scripts(load_script)


def returning(scripts: Scripts, expression: str) -> Script:
    return scripts(f"import numpy as np\ndef run(data): return {expression}")


class TestInput:
    @pytest.mark.parametrize("annotation", ["", ": str", ": 'str'"])
    def test_text_is_the_default(self, scripts: Scripts, annotation: str) -> None:
        script = scripts(f"def run(data{annotation}): return [type(data).__name__, data]")
        assert json.loads(script.answer(post('{"é": 1}'.encode())).body) == ["str", '{"é": 1}']

    @pytest.mark.parametrize("annotation", ["bytes", "'bytes'"])
    def test_bytes(self, scripts: Scripts, annotation: str) -> None:
        script = scripts(f"def run(data: {annotation}): return list(data)")
        assert json.loads(script.answer(post(b"\xff\0")).body) == [255, 0]

    @pytest.mark.parametrize(
        "annotation", ["dict", "dict[str, int]", "'list[NotDefined]'", "object", "'Any'"]
    )
    def test_json_where_anything_else_is_annotated(self, scripts: Scripts, annotation: str) -> None:
        script = scripts(
            f"from typing import Any\ndef run(data: {annotation}): return data['a'] + 1"
        )
        assert script.answer(post(b'{"a": 1}')).body == b"2"

    def test_annotations_from_the_future(self, scripts: Scripts) -> None:
        script = scripts("from __future__ import annotations\ndef run(data: bytes): return data")
        assert script.answer(post(b"\xff")).body == b"\xff"

    @pytest.mark.parametrize(
        ("body", "says"),
        [
            (b'{"a": 1', "line 1, column 8, position 7"),
            (b"[1,\n2,]", "line 2"),
            (b"", "empty"),
            (b"[NaN]", "position 1"),
            (b"\xff", "position 0"),
            (b'"\\ud800"', "position"),
            pytest.param(b"[" * 100_000, "position", id="deep array"),
            pytest.param(b'{"a":' * 100_000, "position", id="deep object"),
        ],
    )
    def test_refuses_what_is_no_json(self, scripts: Scripts, body: bytes, says: str) -> None:
        response = scripts("def run(data: list): return 1 / 0").answer(post(body))
        assert response.status == 400
        assert says in message(response)
        assert fields(response)[b"x-ms-run-function-failed"] == b"False"

    def test_a_long_integer_is_no_trouble(self, scripts: Scripts) -> None:
        response = scripts("def run(data: int): return 1").answer(post(b"9" * 5000))
        assert response.status in (200, 400)

    def test_refuses_text_that_is_not_utf_8(self, scripts: Scripts) -> None:
        response = scripts("def run(data): return data").answer(post(b"ab\xff"))
        assert response.status == 400
        assert message(response) == "The body is not UTF-8: invalid start byte at byte 2."

    def test_a_query_comes_as_json(self, scripts: Scripts) -> None:
        response = scripts("def run(data): return data").answer(get("a=1&b=x&c=%5B1%5D&b=2&d="))
        assert json.loads(json.loads(response.body)) == {"a": 1, "b": ["x", 2], "c": [1], "d": ""}

    def test_a_query_comes_parsed_where_annotated(self, scripts: Scripts) -> None:
        assert scripts("def run(data: dict): return data").answer(get("a=1")).body == b'{"a":1}'

    @pytest.mark.parametrize("query", ["a=%ff", "a&" * 1001])
    def test_refuses_a_query_that_cannot_be_read(self, scripts: Scripts, query: str) -> None:
        assert scripts("def run(data): return data").answer(get(query)).status == 400


class TestHeaders:
    SCRIPT = "def run(data, request_headers): return request_headers"

    def test_are_passed_where_they_are_asked_for(self, scripts: Scripts) -> None:
        response = scripts(self.SCRIPT).answer(post(b"", (b"content-type", b"a"), (b"x-b", b"c")))
        assert json.loads(response.body) == {"Content-Type": "a", "X-B": "c"}

    def test_are_found_in_any_case(self) -> None:
        headers = RequestHeaders(Headers([(b"x-b", b"1"), (b"x-b", b"2"), (b"a", b"\xe9")]))
        assert headers["X-B"] == headers["x-b"] == headers.get("x-B") == "1, 2"
        assert "x-b" in headers
        assert "x-c" not in headers
        assert headers.get("x-c", "-") == "-"
        assert headers["A"] == "é"
        with pytest.raises(KeyError):
            headers["x-c"]
        with pytest.raises(KeyError):
            headers["X-C"]


class TestOutput:
    @pytest.mark.parametrize(
        ("expression", "body"),
        [
            ("{'a': [1, 2.5, None, True]}", b'{"a":[1,2.5,null,true]}'),
            ("None", b"{}"),
            ("'[1]'", b'"[1]"'),
            ("(1, 2)", b"[1,2]"),
            ("{1: 2}", b'{"1":2}'),
            ("np.array([[1, 2], [3, 4]])", b"[[1,2],[3,4]]"),
            ("np.array([[1, 2], [3, 4]]).T", b"[[1,3],[2,4]]"),
            ("np.array(['a', 'b'])", b'["a","b"]'),
            ("np.array([1, None], dtype=object)", b"[1,null]"),
            ("np.array([1, 2], dtype='>i4')", b"[1,2]"),
            ("[np.float32(0.5), np.int64(3), np.bool_(True)]", b"[0.5,3,true]"),
            ("np.str_('a')", b'"a"'),
            ("2**70", b"1180591620717411303424"),
            ("'\\ud800'", b'"\\ud800"'),
            ("__import__('datetime').datetime(2026, 1, 31, 12)", b'"2026-01-31T12:00:00"'),
            ("[np.datetime64('2026-01-31')]", b'["2026-01-31T00:00:00"]'),
            ("__import__('pandas').DataFrame({'a': [1, 2]})", b'[{"a":1},{"a":2}]'),
            ("__import__('pandas').Series([1.5, None])", b"[1.5,null]"),
            ("[__import__('pandas').NaT, __import__('pandas').NA]", b"[null,null]"),
            ("__import__('pandas').Timestamp('2026-01-31')", b'"2026-01-31T00:00:00"'),
            ("__import__('msgspec').defstruct('S', ['a'])(1)", b'{"a":1}'),
            ("__import__('pydantic').create_model('M', a=(int, 1))()", b'{"a":1}'),
            ("{'a': np.arange(3)[::2]}", b'{"a":[0,2]}'),
            ("[float('nan'), float('inf'), -float('inf')]", b"[null,null,null]"),
            ("np.array([np.nan, 1, np.inf])", b"[null,1.0,null]"),
        ],
    )
    def test_is_json(self, scripts: Scripts, expression: str, body: bytes) -> None:
        response = returning(scripts, expression).answer(post())
        assert (response.status, response.body) == (200, body)
        assert fields(response)[b"content-type"] == b"application/json"

    @pytest.mark.parametrize("expression", ["b'\\xff'", "bytearray(b'\\xff')"])
    def test_bytes_are_sent_as_they_are(self, scripts: Scripts, expression: str) -> None:
        response = returning(scripts, expression).answer(post())
        assert response.body == b"\xff"
        assert fields(response)[b"content-type"] == b"application/octet-stream"

    @pytest.mark.parametrize(
        "expression", ["{1, 2}", "object()", "lambda: 1", "1j", "np.array([1j])"]
    )
    def test_that_is_no_json_is_the_scripts_fault(
        self, scripts: Scripts, expression: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        response = returning(scripts, expression).answer(post())
        assert response.status == 500
        assert "JSON" in message(response)
        assert fields(response)[b"x-ms-run-function-failed"] == b"False"
        assert fields(response)[b"x-request-id"].decode() in capsys.readouterr().err

    def test_tells_how_long_it_took(self, scripts: Scripts) -> None:
        head = fields(returning(scripts, "1").answer(post()))
        assert re.fullmatch(rb"\d+\.\d{3}", head[b"x-ms-run-fn-exec-ms"])
        took = re.escape(head[b"x-ms-run-fn-exec-ms"])
        stages = rb"decode;dur=[0-9.]+, run;dur=" + took + rb", encode;dur=[0-9.]+"
        assert re.fullmatch(stages, head[b"server-timing"])
        assert head[b"x-ms-run-function-failed"] == b"False"


class TestFailure:
    @pytest.mark.parametrize("error", ["ValueError('secret')", "SystemExit(3)", "MemoryError()"])
    def test_is_told_without_its_reason(
        self, scripts: Scripts, error: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        response = scripts(f"def run(data):\n    raise {error}").answer(post())
        assert response.status == 500
        assert message(response) == (
            "An unexpected error occurred in scoring script. Check the logs for more info."
        )
        head = fields(response)
        assert head[b"x-ms-run-function-failed"] == b"True"
        assert b"x-ms-run-fn-exec-ms" in head
        logged = capsys.readouterr().err
        assert logged.startswith(f"request {head[b'x-request-id'].decode()}: `run()` raised\n")
        assert 'score.py", line 2, in run' in logged
        assert "scoring.py" not in logged

    def test_without_a_script_is_told_of_the_model(self, scripts: Scripts) -> None:
        entry = scripts("def run(data): return 1 / 0").entry
        script = Script(replace(entry, scene=replace(entry.scene, script="")), [])
        assert message(script.answer(post())) == (
            "An unexpected error occurred in the model. Check the logs for more info."
        )

    def test_is_reported_with_the_scripts_line(self, scripts: Scripts) -> None:
        scripts("def run(data):\n    return 1 / 0").answer(post())
        (cause,) = scripts.failures
        assert cause.code == SAMPLE_FAILED
        assert cause.message == (
            "`run()` raised ZeroDivisionError: division by zero (score.py, line 2)."
        )

    def test_of_the_caller_is_not_reported(self, scripts: Scripts) -> None:
        scripts("def run(data: list): ...").answer(post(b"x"))
        assert scripts.failures == []

    def test_ids_cannot_forge_log_lines(
        self, scripts: Scripts, capsys: pytest.CaptureFixture[str]
    ) -> None:
        scripts("def run(data): 1 / 0").answer(post(b"", (b"x-request-id", b"a\x9b31m\tb")))
        assert capsys.readouterr().err.startswith("request a\\x9b31m\\tb: ")


class TestIds:
    def answer(self, scripts: Scripts, *headers: tuple[bytes, bytes]) -> dict[bytes, bytes]:
        return fields(returning(scripts, "1").answer(post(b"", *headers)))

    def test_are_made_where_there_are_none(self, scripts: Scripts) -> None:
        head = self.answer(scripts)
        assert UUID.fullmatch(head[b"x-request-id"])
        assert head[b"x-ms-request-id"] == head[b"x-request-id"]
        assert b"x-ms-client-request-id" not in head
        assert self.answer(scripts)[b"x-request-id"] != head[b"x-request-id"]

    def test_of_the_request_is_kept(self, scripts: Scripts) -> None:
        head = self.answer(scripts, (b"x-request-id", b"A"))
        assert head[b"x-request-id"] == head[b"x-ms-request-id"] == b"A"

    @pytest.mark.parametrize(
        ("given", "legacy", "client"),
        [
            ({b"x-ms-request-id": b"A"}, b"A", b"A"),
            ({b"x-ms-client-request-id": b"A"}, b"A", b"A"),
            ({b"x-ms-request-id": b"A", b"x-ms-client-request-id": b"B"}, b"A", b"B"),
        ],
    )
    def test_of_the_client(
        self, scripts: Scripts, given: dict[bytes, bytes], legacy: bytes, client: bytes
    ) -> None:
        head = self.answer(scripts, *given.items())
        assert head[b"x-ms-request-id"] == legacy
        assert head[b"x-ms-client-request-id"] == client
        assert UUID.fullmatch(head[b"x-request-id"])

    def test_trace_id_is_echoed(self, scripts: Scripts) -> None:
        assert self.answer(scripts, (b"traceid", b"T"))[b"traceid"] == b"T"

    def test_of_100_characters_is_accepted(self, scripts: Scripts) -> None:
        assert self.answer(scripts, (b"x-request-id", b"A" * 100))[b"x-request-id"] == b"A" * 100

    def test_that_is_too_long_is_refused(self, scripts: Scripts) -> None:
        response = returning(scripts, "1").answer(post(b"", (b"x-request-id", b"A" * 101)))
        assert response.status == 431
        assert message(response) == "x-request-id must not exceed 100 characters"
        assert not {b"x-request-id", b"x-ms-request-id"} & set(fields(response))

    @pytest.mark.parametrize("name", [b"x-ms-request-id", b"x-ms-client-request-id"])
    def test_of_the_client_that_is_too_long_is_refused(self, scripts: Scripts, name: bytes) -> None:
        response = returning(scripts, "1").answer(post(b"", (name, b"A" * 101)))
        assert response.status == 431
        assert UUID.fullmatch(fields(response)[b"x-request-id"])
        assert name not in fields(response)

    def test_are_in_the_refusal_of_a_lane(self, scripts: Scripts) -> None:
        call = returning(scripts, "1").call(post(b"", (b"x-request-id", b"A")))
        response = call.refuse(504, "Too late.", (b"retry-after", b"1"))
        assert response.status == 504
        assert message(response) == "Too late."
        assert fields(response)[b"retry-after"] == b"1"
        assert fields(response)[b"x-request-id"] == b"A"


class TestAsync:
    def run(self, script: Script, request: Request) -> Response:
        assert script.entry.is_async
        return asyncio.run(script.call(request).execute_async())

    def test_answers(self, scripts: Scripts) -> None:
        script = "import asyncio\nasync def run(data: int):\n await asyncio.sleep(0)\n return data"
        assert self.run(scripts(script), post(b"3")).body == b"3"

    @pytest.mark.parametrize(("body", "status"), [(b"1", 500), (b"x", 400)])
    def test_fails_like_the_plain_one(self, scripts: Scripts, body: bytes, status: int) -> None:
        response = self.run(scripts("async def run(data: int): return 1 / 0"), post(body))
        assert response.status == status

    def test_can_be_cancelled(self, scripts: Scripts) -> None:
        script = scripts("import asyncio\nasync def run(data): raise asyncio.CancelledError")
        with pytest.raises(asyncio.CancelledError):
            self.run(script, post())
