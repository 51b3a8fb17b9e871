"""Scripts and the requests that were sent to them, at the original and here."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SCRIPTS = Path(__file__).with_name("scripts")
RECORDED = Path(__file__).with_name("recorded.json")

JSON = {"content-type": "application/json"}
_LONG = "i" * 101
_FORM = (
    b'--limit\r\ncontent-disposition: form-data; name="note"\r\n\r\ngr\xc3\xbc\xc3\x9fe\r\n'
    b'--limit\r\ncontent-disposition: form-data; name="note"\r\n\r\nagain\r\n'
    b'--limit\r\ncontent-disposition: form-data; name="file"; filename="a b.csv"\r\n'
    b"content-type: text/csv; charset=utf-8\r\n\r\n1,2\r\n3,4\r\n\r\n--limit--\r\n"
)


@dataclass(frozen=True)
class Case:
    """One request."""

    method: str = "POST"
    path: str = "/score"
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class Script:
    """One script, started once, and the requests to it by name."""

    cases: dict[str, Case]
    file: str = ""
    """Where the name of the script is not that of its file."""
    environment: dict[str, str] = field(default_factory=dict)


def post(body: Any, **headers: str) -> Case:
    """A body of JSON, unless it is bytes already."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Case(body=data, headers={**JSON, **named})


def get(query: str = "", path: str = "/score", method: str = "GET", **headers: str) -> Case:
    """A request without a body."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Case(method, f"{path}?{query}" if query else path, named)


def ask(what: str, method: str = "POST", body: bytes = b"", **headers: str) -> Case:
    """A request that the script `raw` answers in the way named."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Case(method, f"/score?do={what}", named, body)


def _does(*names: str) -> dict[str, Case]:
    return {f"returns {name}": post({"do": name}) for name in names}


PLAIN = Script(
    {
        "text": post(b"any text", content_type="text/plain"),
        "text without a content type": Case(body="é".encode()),
        "nothing": Case(),
        "not UTF-8": post(b"\xff\xfe"),
        **_does("string", "none", "number", "list", "tuple", "keys", "unicode", "large"),
        **_does("lone", "nan", "set", "bytes", "date", "empty", "raise"),
        "query": get("a=1&b=[1,2]&c=a&d=null&e=&f=x%20y+z"),
        "query with repeated fields": get("foo=bar1&foo=2&x=y"),
        "no query": get(),
        "HEAD": get(method="HEAD"),
        "OPTIONS": get(method="OPTIONS"),
        "PUT": Case("PUT", body=b"x"),
        "DELETE": Case("DELETE"),
        "health": get(path="/"),
        "POST to health": Case("POST", "/", body=b"x"),
        "unknown path": get(path="/scores"),
        "its id": post(b"x", x_request_id="abc"),
        "the id of 100": post(b"x", x_request_id=_LONG[:100]),
        "an id of 101": post(b"x", x_request_id=_LONG),
        "the old id": post(b"x", x_ms_request_id="old"),
        "the client's id": post(b"x", x_ms_client_request_id="client"),
        "all ids": post(
            b"x", x_request_id="a", x_ms_request_id="b", x_ms_client_request_id="c", TraceId="t"
        ),
        "a client's id of 101": post(b"x", x_request_id="a", x_ms_client_request_id=_LONG),
        "an old id of 101": post(b"x", x_ms_request_id=_LONG),
        "an id and a failure": post({"do": "raise"}, x_request_id="abc"),
        "swagger": get(path="/swagger.json"),
        "swagger 3": get("version=3", path="/swagger.json"),
        "swagger 3.1": get("version=3.1", path="/swagger.json"),
        "swagger 9": get("version=9", path="/swagger.json"),
        "an origin, none allowed": post(b"x", origin="https://a.example"),
    }
)

HEADERS = Script(
    {
        "headers": post([1], x_custom="Value"),
        "headers in another case": post([1], **{"X-CUSTOM": "Value"}),
        "headers of a query": get("a=1", x_custom="v"),
    }
)

ROWS = Script(
    {
        "one row": post({"data": [[1, 2, 3]]}),
        "rows": post({"data": [[1, 2, 3], [0, 0, 1.5]]}),
        "a key more": post({"data": [[1, 2, 3]], "more": 1}),
        "JSON with parameters": post(
            {"data": [[1, 2, 3]]}, content_type="application/json; charset=utf-8"
        ),
        "JSON of a kind": post({"data": [[1, 2, 3]]}, content_type="application/vnd.x+json"),
        "JSON in capitals": post({"data": [[1, 2, 3]]}, content_type="Application/JSON"),
        "another content type": post({"data": [[1, 2, 3]]}, content_type="text/plain"),
        "no content type": Case(body=b'{"data": [[1, 2, 3]]}'),
        "no body": post(b""),
        "broken JSON": post(b'{"data": [[1, 2, 3]'),
        "JSON with more behind": post(b'{"data": [[1, 2, 3]]} x'),
        "a list": post([[1, 2, 3]]),
        "a string": post("text"),
        "no parameter": post({"dada": [[1, 2, 3]]}),
        "two dimensions too few": post({"data": 5}),
        "one dimension too few": post({"data": [1, 2, 3]}),
        "one dimension too many": post({"data": [[[1, 2, 3]]]}),
        "a column too few": post({"data": [[1, 2]]}),
        "ragged rows": post({"data": [[1, 2, 3], [1]]}),
        "text for numbers": post({"data": [["a", "b", "c"]]}),
        "numbers as text": post({"data": [["1", "2", "3"]]}),
        "null": post({"data": None}),
        "no rows": post({"data": []}),
        "null in a row": post({"data": [[1, None, 3]]}),
        "NaN": post(b'{"data": [[1, NaN, 3]]}'),
        "a key twice": post(b'{"data": [[0, 0, 0]], "data": [[1, 2, 3]]}'),
        "UTF-16": post('{"data": [[1, 2, 3]]}'.encode("utf-16")),
        "not UTF-8": post(b'{"data": "\xff"}'),
        "query": get("data=[[1,2,3]]"),
        "query without it": get("dada=1"),
        "OPTIONS": get(method="OPTIONS"),
        "an id of 101": post({"data": [[1, 2, 3]]}, x_request_id=_LONG),
        "swagger": get(path="/swagger.json"),
        "swagger 3": get("version=3.0", path="/swagger.json"),
    }
)

ARRAYS = Script(
    {
        "whole numbers": post({"whole": [3, 4, 5]}),
        "fractions for whole numbers": post({"whole": [1.5]}),
        "another shape, not enforced": post({"loose": [[[1]]]}),
        "another type, not enforced": post({"untyped": [[1, 2]]}),
        "another shape, enforced": post({"untyped": [[1, 2, 3]]}),
        "three dimensions": post({"cube": [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]}),
        "three dimensions of another size": post({"cube": [[[1, 2]]]}),
        "fields as lists": post({"named": [[7, 1.5]]}),
        "fields by name": post({"named": [{"size": 1.5, "id": 7}]}),
        "a field too few": post({"named": [{"id": 7}]}),
        "times": post({"times": ["2020-02-03T04:05:06"]}),
        "no time": post({"times": ["soon"]}),
        "texts": post({"texts": ["x", "yz", "longer"]}),
        "swagger": get(path="/swagger.json"),
    }
)

_ROW = {"sepal": 1.5, "petal": 2, "name": "x"}
TABLES = Script(
    {
        "records": post({"records": [_ROW, {"name": "y", "petal": 3, "sepal": 1}]}),
        "records with whole numbers": post({"records": [{**_ROW, "sepal": 1}]}),
        "a column more": post({"records": [{**_ROW, "more": 1}]}),
        "a column too few": post({"records": [{"sepal": 1.5}]}),
        "another name": post({"records": [{"sepal": 1.5, "petal": 2, "title": "x"}]}),
        "text for numbers": post({"records": [{**_ROW, "petal": "many"}]}),
        "no table": post({"records": "text"}),
        "no rows": post({"records": []}),
        "split": post({"split": {"columns": list(_ROW), "index": [0], "data": [[1.5, 2, "x"]]}}),
        "split without an index": post({"split": {"columns": list(_ROW), "data": [[1.5, 2, "x"]]}}),
        "split of another shape": post({"split": {"columns": ["a"], "data": [[1, 2]]}}),
        "index": post({"index": {"0": _ROW, "5": _ROW}}),
        "columns": post({"columns": {name: {"0": value} for name, value in _ROW.items()}}),
        "values": post({"values": [[1, 2], [3, 4]]}),
        "values of another width": post({"values": [[1, 2, 3]]}),
        "times": post({"dated": [{"when": "2020-02-03T04:05:06", "n": 1}]}),
        "a column more, not enforced": post({"loose": [{**_ROW, "more": 1}]}),
        "other types, not enforced": post({"untyped": [{"sepal": "a", "petal": 1.5, "name": 1}]}),
        "swagger": get(path="/swagger.json"),
    }
)

_INPUTS = {"rows": [{"x": 1, "y": "b"}, {"x": 2.5, "y": "c"}], "arrays": [[1, 2], [3, 4]]}
POWER_BI = Script(
    {
        "all": post({"Inputs": {**_INPUTS, "note": "n"}, "GlobalParameters": {"factor": 2}}),
        "a part of the inputs": post(
            {"Inputs": {"rows": [{"x": 1, "y": "b"}]}, "GlobalParameters": {}}
        ),
        "a list of arrays": post({"Inputs": {}, "GlobalParameters": {}, "many": [[1, 2], [3, 4]]}),
        "no global parameters": post({"Inputs": _INPUTS}),
        "inputs that are no dictionary": post({"Inputs": [1], "GlobalParameters": {}}),
        "an array of another width inside": post(
            {"Inputs": {"arrays": [[1, 2, 3]]}, "GlobalParameters": {}}
        ),
        "swagger": get(path="/swagger.json"),
        "swagger 3": get("version=3", path="/swagger.json"),
    }
)

STANDARD = Script(
    {
        "defaults": post({"text": "t"}),
        "everything": post(
            {
                "text": "t",
                "number": 2.5,
                "count": 4,
                "flag": True,
                "blob": "aGVsbG8=",
                "when": "2020-02-03 04:05:06.000007 +0000",
                "items": [3, "mixed"],
                "fields": {"b": 2},
                "plain": [1],
            }
        ),
        "whole number for a fraction": post({"text": "t", "number": 2}),
        "fraction for a whole number": post({"text": "t", "count": 2.5}),
        "number for text": post({"text": 5}),
        "null for text": post({"text": None}),
        "text for a flag": post({"text": "t", "flag": "yes"}),
        "a dictionary for a list": post({"text": "t", "items": {}}),
        "a dictionary with something for a list": post({"text": "t", "items": {"a": 1}}),
        "a time in ISO form": post({"text": "t", "when": "2020-02-03T04:05:06Z"}),
        "a time in words": post({"text": "t", "when": "3 Feb 2020 04:05:06 UTC"}),
        "no time": post({"text": "t", "when": "soon"}),
        "no base64": post({"text": "t", "blob": "!"}),
        "query": get("text=t&count=3"),
        "query with a number for text": get("text=5"),
        "swagger": get(path="/swagger.json"),
    }
)

MIXED = Script(
    {
        "mixed": post({"row": [1, "x"]}),
        "swagger": get(path="/swagger.json"),
        "swagger 2": get("version=2", path="/swagger.json"),
        "swagger 3": get("version=3", path="/swagger.json"),
        "swagger 3.1": get("version=3.1", path="/swagger.json"),
    }
)

RAW = Script(
    {
        "GET": get("do=look&a=1&a=2&n=5&m=x%20y", x_custom="v", cookie="k=v; l=w"),
        "POST": ask("look", body=b"\xc3\xa9 raw", content_type="text/plain; charset=utf-8"),
        "POST of JSON": ask("look", body=b"{}", **JSON),
        "OPTIONS": ask("look", "OPTIONS"),
        "OPTIONS with headers of its own": ask("cors", "OPTIONS", origin="https://a.example"),
        "PUT": ask("look", "PUT"),
        "json": ask("json", body=b'{"a": [1, 2.5, null]}', **JSON),
        "json of another type": ask("json", body=b"{}", content_type="text/plain"),
        "broken json": ask("json", body=b"{", **JSON),
        "broken json, silently": ask("silent", body=b"{", **JSON),
        "json by force": ask("force", body=b"[1]", content_type="text/plain"),
        "form": ask(
            "form", body=b"a=1&b=2&a=%C3%A9", content_type="application/x-www-form-urlencoded"
        ),
        "files": ask("form", body=_FORM, content_type="multipart/form-data; boundary=limit"),
        "no form": ask("form", body=b"x", content_type="text/plain"),
        "a type that is not converted": ask("form", body=b""),
        **{
            what: ask(what)
            for what in (
                "plain",
                "text",
                "bytes",
                "as_json",
                "nothing",
                "repeated",
                "teapot",
                "broken",
                "failed",
                "raise",
                "list",
                "twice",
                "stream",
            )
        },
        "stream of a GET": ask("stream", "GET"),
        "its id": ask("text", x_request_id="abc", x_ms_client_request_id="c"),
        "an id of 101": ask("text", x_request_id=_LONG),
        "swagger": get(path="/swagger.json"),
    }
)

RESPONSES = Script(
    {
        "made": post({}),
        "refused": post({"bad": 1}),
        "in parts": post({"parts": 1}),
        "not JSON": post(b"x"),
    }
)

DRIVER = Script(
    {
        "one row": post({"data": [[1, 2, 3]]}),
        "another content type": post({"data": [[1, 2, 3]]}, content_type="text/plain"),
        "swagger": get(path="/swagger.json"),
    }
)

_ORIGIN = "https://a.example"
_PREFLIGHT = {
    "origin": _ORIGIN,
    "access-control-request-method": "POST",
    "access-control-request-headers": "content-type, authorization",
}
CORS = Script(
    {
        "an allowed origin": post(b"x", origin=_ORIGIN),
        "the other allowed origin": post(b"x", origin="https://b.example"),
        "another origin": post(b"x", origin="https://c.example"),
        "no origin": post(b"x"),
        "a failure": post({"do": "raise"}, origin=_ORIGIN),
        "a GET": get("a=1", origin=_ORIGIN),
        "preflight": Case("OPTIONS", headers=_PREFLIGHT),
        "preflight of another origin": Case(
            "OPTIONS", headers={**_PREFLIGHT, "origin": "https://c.example"}
        ),
        "health": get(path="/", origin=_ORIGIN),
    },
    file="plain",
    environment={"AML_CORS_ORIGINS": "https://a.example, https://b.example"},
)
ANY_ORIGIN = Script(
    {
        "an origin": post(b"x", origin=_ORIGIN),
        "preflight": Case("OPTIONS", headers=_PREFLIGHT),
    },
    file="plain",
    environment={"AML_CORS_ORIGINS": "*"},
)

TABLE = {
    "plain": PLAIN,
    "headers": HEADERS,
    "rows": ROWS,
    "arrays": ARRAYS,
    "tables": TABLES,
    "power_bi": POWER_BI,
    "standard": STANDARD,
    "mixed": MIXED,
    "raw": RAW,
    "responses": RESPONSES,
    "driver": DRIVER,
    "cors": CORS,
    "any_origin": ANY_ORIGIN,
}
"""Every script by name."""
