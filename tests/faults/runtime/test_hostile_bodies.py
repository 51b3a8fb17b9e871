"""Hostile bodies for real replicas, by every protocol and every kind of script."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.faults.runtime.siege import MEGABYTE, GoodClient, bounded_memory, check_refusal
from tests.integration.runtime.replica import Replica, replica
from tests.integration.runtime.wire import Answer, Wire, ask, request

DECORATED = """
import numpy as np
from inference_schema.schema_decorators import input_schema
from inference_schema.parameter_types.numpy_parameter_type import NumpyParameterType
@input_schema("rows", NumpyParameterType(np.array([[1.0]])))
def run(rows): return rows.tolist()
"""
RAWHTTP = """
from azureml.contrib.services.aml_request import rawhttp
@rawhttp
def run(request): return {"fields": len(request.form), "files": len(request.files)}
"""
SCRIPTS = {
    "text": "def run(data): return len(data)",
    "parsed": "from typing import Any\ndef run(rows: Any): return rows",
    "typed": "from dataclasses import dataclass\n@dataclass\nclass Row:\n    length: float = 0.0\n"
    "def run(rows: list[Row]): return rows",
    "array": "import numpy as np\ndef run(rows: np.ndarray): return rows.tolist()",
    "floats": "import numpy as np\nfrom numpy.typing import NDArray\n"
    "def run(rows: NDArray[np.float64]): return rows.tolist()",
    "decorated": DECORATED,
    "rawhttp": RAWHTTP,
}
SCORE, INFER, INVOCATIONS = "/score", "/v2/models/flowers/infer", "/invocations"
KEYS = {SCORE: "message", INFER: "error", INVOCATIONS: "message"}
DEPTH = 100_000
LONG_NUMBER = b"9" * 5000
NOT_JSON = {
    "deep list": b"[" * DEPTH + b"]" * DEPTH,
    "deep list without end": b"[" * DEPTH,
    "deep object": b'{"a":' * DEPTH + b"1" + b"}" * DEPTH,
    "deep object without end": b'{"a":' * DEPTH,
    "long integer": b"[" + LONG_NUMBER + b"]",
    "long negative integer": b"[-" + LONG_NUMBER + b"]",
    "lone surrogate": b'["\\ud800"]',
    "lone low surrogate": b'["\\udc00"]',
    "surrogate as key": b'{"\\ud800": 1}',
    "latin-1": b'["\xe9"]',
    "surrogate in UTF-8": b'["\xed\xa0\x80"]',
    "UTF-16": '["a"]'.encode("utf-16"),
    "NaN": b"[NaN]",
    "Infinity": b"[Infinity]",
    "-Infinity": b"[-Infinity]",
    "1e999": b"[1e999]",
    "-1e999": b"[-1e999]",
    "cut": b'{"rows": [1',
    "two values": b"[1] [2]",
    "control character": b'["\x01"]',
    "null byte": b"[1\0]",
    "nothing": b"",
}
NOT_TEXT = {name: NOT_JSON[name] for name in ("latin-1", "surrogate in UTF-8", "UTF-16")}
UNEVEN = b'["%b"%b]' % (b"x" * 300_000, b',"a"' * 2000)
"""Of which numpy would make 2.4 GB."""
NESTED = b"[" * 60 + b"1," * 50_000 + b"[1]" + b"]" * 60


@pytest.fixture(scope="module", params=SCRIPTS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def target(kind: str) -> Iterator[Replica]:
    with replica(SCRIPTS[kind], max_body=4 * MEGABYTE, workers=1) as running:
        yield running


@pytest.fixture(autouse=True)
def good_client(target: Replica, kind: str) -> Iterator[None]:
    body, wanted = (b"", b'{"fields":0,"files":0}') if kind == "rawhttp" else (b"[]", b"[]")
    if kind == "text":
        wanted = b"2"
    if kind == "decorated":
        body, wanted = b'{"rows": [[1.0]]}', b"[[1.0]]"
    headers = {"content-type": "application/json"}
    question = request("POST", SCORE, body, headers)
    with GoodClient(lambda: Wire(target.socket), question, wanted):
        yield


def post(target: Replica, path: str, body: bytes, **headers: str) -> Answer:
    fields = {"content-type": "application/json"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    return ask(target.socket, request("POST", path, body, fields, close=True))


def refused(target: Replica, path: str, body: bytes, status: int = 400, **headers: str) -> None:
    with bounded_memory(target.workers, 48):
        answer = post(target, path, body, **headers)
    assert answer.status == status, answer.body[:300]
    check_refusal(answer, KEYS[path])


def tensor(data: bytes, datatype: str = "FP64", shape: bytes = b"[1]") -> bytes:
    name = b'{"inputs":[{"name":"rows","datatype":"%b","shape":%b,"data":%b}]}'
    return name % (datatype.encode(), shape, data)


class TestWhatIsNotJson:
    @pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON)
    def test_as_a_body(self, target: Replica, kind: str, body: bytes) -> None:
        """Scripts that read the body themselves are to judge it themselves, if it is text."""
        if kind in ("text", "rawhttp"):
            answer = post(target, SCORE, body)
            assert answer.status == (400 if kind == "text" and body in NOT_TEXT.values() else 200)
        else:
            refused(target, SCORE, body)

    @pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON)
    def test_as_instances(self, target: Replica, body: bytes) -> None:
        refused(target, INVOCATIONS, b'{"instances": %b}' % body)

    @pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON)
    def test_as_data_of_a_tensor(self, target: Replica, body: bytes) -> None:
        refused(target, INFER, tensor(body))
        refused(target, INFER, body)

    @pytest.mark.parametrize("value", ["[" * 2000, "[" * 300 + "]" * 300, "%ff", "%ed%a0%80"])
    def test_in_a_query(self, target: Replica, kind: str, value: str) -> None:
        answer = ask(target.socket, request("GET", f"{SCORE}?rows={value}", close=True))
        if answer.status != 200:
            check_refusal(answer)
        elsewhere = {"decorated": {500}, "rawhttp": set()}  # who converts in `run`, who not at all
        assert answer.status in {200} | elsewhere.get(kind, {422}) | {400}


class TestOddJson:
    def test_of_a_key_that_comes_twice_the_last_counts(self, target: Replica, kind: str) -> None:
        if kind == "typed":
            twice = post(target, SCORE, b'[{"length": 1, "length": 2}]')
            assert twice.json() == [{"length": 2.0}]
        elif kind not in ("text", "rawhttp"):
            body = b'{"rows": [[1.0]], "rows": [[2.0]]}'
            rows = post(target, SCORE, body).json()
            assert rows == ({"rows": [[2.0]]} if kind == "parsed" else [[2.0]])

    def test_a_long_text_among_many_costs_no_more_than_it_is(
        self, target: Replica, kind: str
    ) -> None:
        bodies = {
            SCORE: b'{"rows": %b}' % UNEVEN,
            INVOCATIONS: b'{"instances": %b}' % UNEVEN,
            INFER: tensor(UNEVEN, "BYTES", b"[2001]"),
        }
        for path, body in bodies.items():
            with bounded_memory(target.workers, 64):
                answer = post(target, path, body)
            assert (answer.status < 500) or kind == "decorated"  # converted when `run` is called
            if answer.status != 200:
                check_refusal(answer, KEYS[path])

    def test_deep_and_wide_lists_are_read_once(self, target: Replica, kind: str) -> None:
        with bounded_memory(target.workers, 64):
            answer = post(target, SCORE, b'{"rows": %b}' % NESTED)
        if kind in ("array", "floats"):
            assert answer.status == 422
            check_refusal(answer)

    def test_nan_where_python_reads_it_is_null_in_the_answer(
        self, target: Replica, kind: str
    ) -> None:
        if kind == "decorated":
            for value in (b"NaN", b"Infinity", b"1e999"):
                answer = post(target, SCORE, b'{"rows": [[%b]]}' % value)
                assert (answer.status, answer.body) == (200, b"[[null]]")


HEAD = (
    b'{"inputs":[{"name":"rows","datatype":"%b","shape":%b,"parameters":{"binary_data_size":%b}}]}'
)
LIES = [
    (b"FP64", b"[2]", b"8", bytes(8)),
    (b"FP64", b"[1]", b"8", bytes(7)),
    (b"FP64", b"[1]", b"8", bytes(9)),
    (b"FP64", b"[1]", b"16", bytes(16)),
    (b"FP64", b"[1]", b"0", b""),
    (b"FP64", b"[-1]", b"8", bytes(8)),
    (b"FP64", b"[-1,-1]", b"8", bytes(8)),
    (b"FP64", b"[4294967296,4294967296]", b"8", bytes(8)),
    (b"FP64", b"[18446744073709551616]", b"8", bytes(8)),
    (b"FP64", b"[2147483648]", b"17179869184", bytes(8)),
    (b"FP64", b"[0,9223372036854775807]", b"0", b""),
    (b"FP64", b"[1000000000,0]", b"0", b""),
    (b"FP64", b"[%b1]" % (b"1," * 100), b"8", bytes(8)),
    (b"FP64", b"[%b1]" % (b"1," * 100_000), b"8", bytes(8)),
    (b"FP64", b"[1.5]", b"8", bytes(8)),
    (b"FP64", b"1", b"8", bytes(8)),
    (b"FP64", b"[1]", b"-8", bytes(8)),
    (b"FP64", b"[1]", b"9223372036854775808", bytes(8)),
    (b"FP64", b"[1]", b'"8"', bytes(8)),
    (b"FP64", b"[1]", b"true", bytes(8)),
    (b"FP128", b"[1]", b"16", bytes(16)),
    (b"BOOL", b"[1]", b"1", b"\2"),
    (b"BYTES", b"[1]", b"8", b"\xff\xff\xff\xff" + bytes(4)),
    (b"BYTES", b"[1]", b"3", bytes(3)),
    (b"BYTES", b"[2]", b"4", bytes(4)),
    (b"BYTES", b"[1]", b"8", bytes(8)),
    (b"BYTES", b"[2147483648]", b"4", bytes(4)),
]


class TestBinaryTensors:
    @pytest.mark.parametrize("lie", LIES, ids=range(len(LIES)))
    def test_that_lie(self, target: Replica, lie: tuple[bytes, bytes, bytes, bytes]) -> None:
        datatype, shape, size, data = lie
        head = HEAD % (datatype, shape, size)
        body = head + data
        refused(target, INFER, body, inference_header_content_length=str(len(head)))

    @pytest.mark.parametrize("length", ["0", "1", "-1", "+5", "0x10", "9" * 20, "99999", ""])
    def test_whose_header_has_another_length(self, target: Replica, length: str) -> None:
        body = HEAD % (b"FP64", b"[1]", b"8") + bytes(8)
        refused(target, INFER, body, inference_header_content_length=length)


PART = b'--b\r\ncontent-disposition: form-data; name="f"\r\n\r\nx\r\n'
FORMS = {
    "many parts": (PART * 50_000 + b"--b--", "b"),
    "many boundaries": (b"--b\r\n" * 500_000 + b"--b--", "b"),
    "no end": (PART * 10, "b"),
    "no boundary": (PART + b"--b--", ""),
    "a long boundary": (PART + b"--b--", "b" * 5000),
    "a long part header": (b"--b\r\nx: " + b"a" * MEGABYTE + b"\r\n\r\n--b--", "b"),
    "many part headers": (b"--b\r\n" + b"x: a\r\n" * 100_000 + b"\r\nx\r\n--b--", "b"),
    "no name": (b"--b\r\n\r\nx\r\n--b--", "b"),
    "a null byte": (b"--b\r\ncontent-disposition: form-data\0\r\n\r\nx\r\n--b--", "b"),
}


class TestForms:
    @pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
    def test_that_are_none(self, target: Replica, kind: str, form: tuple[bytes, str]) -> None:
        """Only a script that reads forms refuses them; to all others they are no JSON."""
        body, boundary = form
        content_type = f'multipart/form-data; boundary="{boundary}"'
        if kind == "text":
            assert post(target, SCORE, body).status == 200
        else:
            status = 415 if kind == "decorated" else 400
            refused(target, SCORE, body, status, content_type=content_type)

    def test_of_many_fields(self, target: Replica, kind: str) -> None:
        body, content_type = b"&".join([b"a=1"] * 5000), "application/x-www-form-urlencoded"
        if kind == "rawhttp":
            refused(target, SCORE, body, content_type=content_type)


def test_nothing_of_it_counts_as_a_failure_of_the_script(target: Replica, kind: str) -> None:
    """It comes last: the status of the replica, which people see, blames nobody."""
    if kind != "decorated":  # whose values are converted, and refused, when `run` is called
        assert target.status["last_failure"] is None, target.status
        assert "Traceback" not in target.log.read_text()
