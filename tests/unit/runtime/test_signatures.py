"""Typed parameters: what a request becomes, and what is said of one that does not fit."""

from __future__ import annotations

import datetime
import functools
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple, Optional, TypedDict

import msgspec
import pydantic
import pytest
from tests.unit.runtime.asking import (
    get,
    numbers,
    post,
    refusal,
    signature_of,
    table,
    tensors,
    texts,
)

from modelyard_runtime.signatures import Unreadable
from modelyard_runtime.signatures.hints import hints_of
from modelyard_runtime.tensors import Tensor, TensorSpec


@dataclass
class Flower:
    petal: float
    name: str = "?"


class Bed(TypedDict):
    flowers: list[Flower]
    planted: datetime.date


class Point(NamedTuple):
    x: float
    y: float


class Plot(msgspec.Struct, forbid_unknown_fields=True):
    corners: list[Point]
    size: Annotated[int, msgspec.Meta(gt=0)] = 1


class Pot(pydantic.BaseModel):
    width: float
    label: str | None = None


class Unknown:
    pass


class Tagged(msgspec.Struct, tag=True):
    a: int


class Other(msgspec.Struct, tag=True):
    b: str


def text(raw): ...  # type: ignore[no-untyped-def]
def text_with_default(raw, top=3): ...  # type: ignore[no-untyped-def]
def raw_bytes(data: bytes) -> None: ...
def rows(rows: list[Flower]) -> list[Point]: ...
def matrix(rows: list[list[float]]) -> list[float]: ...
def one(flower: Flower) -> dict[str, Any]: ...
def bed(bed: Bed) -> None: ...
def point(point: Point) -> None: ...
def plot(plot: Plot) -> None: ...
def pots(pots: list[Pot]) -> None: ...
def pot(pot: Pot) -> None: ...
def plain_list(items: list) -> None: ...  # type: ignore[type-arg]
def plain_dict(items: dict) -> None: ...  # type: ignore[type-arg]
def anything(value: Any) -> None: ...
def number(value: int) -> None: ...
def moment(at: datetime.datetime) -> None: ...
def choice(value: Literal["a", "b"]) -> None: ...
def union(value: int | str | None) -> None: ...
def tagged(value: Tagged | Other) -> None: ...
def optional(value: Optional[Flower]) -> None: ...  # noqa: UP045 - as scripts write it
def mapping(prices: dict[str, float]) -> None: ...
def nested(beds: dict[str, list[dict[str, list[int]]]]) -> None: ...
def several(rows: list[Flower], top: int, name: str = "x") -> None: ...
def several_with_defaults(rows: list[Flower], top: int = 3) -> None: ...
def untyped(a, b): ...  # type: ignore[no-untyped-def]
def old_style(data: dict, top=3): ...  # type: ignore[no-untyped-def,type-arg]


FLOWERS = b'[{"petal": 1}, {"petal": 2.5, "name": "a"}]'
TWO = [Flower(1.0), Flower(2.5, "a")]


class TestBody:
    @pytest.mark.parametrize(
        ("run", "body", "value"),
        [
            (rows, FLOWERS, TWO),
            (rows, b"\n[]", []),
            (matrix, b"[[1, 2.5], []]", [[1.0, 2.5], []]),
            (one, b'{"petal": 1, "more": 2}', Flower(1.0)),
            (
                bed,
                b'{"flowers": [], "planted": "2026-01-31"}',
                {"flowers": [], "planted": datetime.date(2026, 1, 31)},
            ),
            (point, b"[1, 2]", Point(1.0, 2.0)),
            (plot, b'{"corners": [[1, 2]]}', Plot([Point(1.0, 2.0)])),
            (pots, b'[{"width": 1}]', [Pot(width=1.0)]),
            (pot, b'{"width": 1, "label": null}', Pot(width=1.0)),
            (plain_list, b'[1, "a", null]', [1, "a", None]),
            (plain_dict, b'{"a": [1]}', {"a": [1]}),
            (anything, b'{"value": 1}', {"value": 1}),
            (anything, b"3", 3),
            (number, b" 3 ", 3),
            (
                moment,
                b'"2026-01-31T12:00:00Z"',
                datetime.datetime(2026, 1, 31, 12, tzinfo=datetime.UTC),
            ),
            (choice, b'"a"', "a"),
            (union, b"null", None),
            (union, b'"3"', "3"),
            (tagged, b'{"type": "Other", "b": "c"}', Other("c")),
            (optional, b"null", None),
            (optional, b'{"petal": 1}', Flower(1.0)),
            (mapping, b'{"a": 1}', {"a": 1.0}),
            (number, b"1180591620717411303424", 2**70),
        ],
    )
    def test_is_the_value(self, run: Callable[..., Any], body: bytes, value: Any) -> None:
        ((_, found),) = post(run, body).items()
        assert found == value
        assert type(found) is type(value)

    @pytest.mark.parametrize(
        ("run", "body", "message"),
        [
            (rows, b'[{"petal": 1}, {"petal": "x"}]', "rows[1].petal: expected a number, got text"),
            (rows, b'[{"name": "a"}]', "rows[0].petal: is missing"),
            (rows, b"[3]", "rows[0]: expected an object, got an integer"),
            (rows, b'"x"', "rows: expected an array, got text"),
            (matrix, b"[[1], [null]]", "rows[1][0]: expected a number, got null"),
            (
                mapping,
                b'{"a": 1, "b": 2, "c": "x", "d": 4}',
                "prices.c: expected a number, got text",
            ),
            (mapping, b'{"a": null, "b": 2}', "prices.a: expected a number, got null"),
            (
                nested,
                b'{"a": [{}, {"k": [1]}], "b": [{"x": [1, 2], "y": ["z"], "w": [1]}]}',
                "beds.b[0].y[0]: expected an integer, got text",
            ),
            (plot, b'{"corners": [], "colour": 1}', "plot.colour: is not known"),
            (plot, b'{"corners": [], "size": 0}', "plot.size: expected an integer >= 1"),
            (point, b"[1]", "point: expected an array of length 2"),
            (choice, b'"c"', "value: invalid enum value 'c'"),
            (union, b"1.5", "value: expected an integer or text or null, got a number"),
            (number, b"1.0e400000", None),
            (plain_list, b'"x"', "items: expected an array, got text"),
            (plain_dict, b"[1]", "items: expected an object, got an array"),
            (pots, b'[{"width": 1}, {}]', "pots[1].width: is missing"),
            (
                pots,
                b'[{"width": "x"}]',
                "pots[0].width: input should be a valid number, unable to parse string as a number",
            ),
            (pot, b"3", "pot: input should be an object"),
            (moment, b'"noon"', "at: invalid RFC3339 encoded datetime"),
        ],
    )
    def test_that_does_not_fit(
        self, run: Callable[..., Any], body: bytes, message: str | None
    ) -> None:
        status, found = refusal(post, run, body)
        assert status == (422 if message else 400)
        assert found == message or not message

    @pytest.mark.parametrize(
        "run", [rows, matrix, one, plain_list, plain_dict, anything, number, pots, several, mapping]
    )
    @pytest.mark.parametrize(
        ("body", "says"),
        [
            (b"", "empty"),
            (b"[1,", "position 3"),
            (b'{"a": nul}', "position"),
            (b"[NaN]", "position 1"),
            (b"[1e999]", "position 1"),
            (b'["\xff"]', "position"),
            (b'["\\ud800"]', "position"),
            (b"1 2", "position 2"),
            (b"[" + b"9" * 5000 + b"]", "position 1"),
            pytest.param(b"[" * 100_000, "position", id="deep array"),
            pytest.param(b'{"rows":' * 100_000, "position", id="deep object"),
        ],
    )
    def test_that_is_no_json(self, run: Callable[..., Any], body: bytes, says: str) -> None:
        status, message = refusal(post, run, body)
        assert status == 400
        assert says in message

    @pytest.fixture
    def deep_python(self) -> Iterator[None]:
        limit = sys.getrecursionlimit()
        sys.setrecursionlimit(10**6)
        yield
        sys.setrecursionlimit(limit)

    @pytest.mark.usefixtures("deep_python")
    @pytest.mark.parametrize("run", [rows, several, one, plain_list])
    @pytest.mark.parametrize("body", [b"[" * 100_000, b'{"rows":' * 100_000])
    def test_deep_nesting_is_harmless_where_a_script_allows_deep_recursion(
        self, run: Callable[..., Any], body: bytes
    ) -> None:
        assert refusal(post, run, body)[0] == 400

    def test_of_a_key_that_comes_twice_the_last_counts(self) -> None:
        assert post(one, b'{"petal": 1, "petal": 2}') == {"flower": Flower(2.0)}
        assert post(plain_dict, b'{"a": 1, "a": 2}') == {"items": {"a": 2}}
        assert post(rows, b'{"rows": 1, "rows": []}') == {"rows": []}


def test_values_that_are_nested_too_deeply_are_refused() -> None:
    deep = "[" * 300 + "]" * 300
    assert refusal(get, rows, f"rows={deep}")[0] == 400
    assert refusal(table, text, None, [[json.loads(deep)]])[0] == 400
    body = b'{"a": [{"b": [1.5]}], "deep": %b}' % deep.encode()
    assert refusal(post, nested, body)[0] == 422


class TestEnvelope:
    def test_opens_where_the_value_is_never_an_object(self) -> None:
        assert post(rows, b' {"rows": ' + FLOWERS + b"}") == {"rows": TWO}
        assert post(number, b'{"value": 3}') == {"value": 3}
        assert post(plain_list, b'{"items": [1]}') == {"items": [1]}
        assert post(union, b'{"value": null}') == {"value": None}
        assert post(pots, b'{"pots": []}') == {"pots": []}

    def test_is_the_value_where_that_may_be_an_object(self) -> None:
        assert refusal(post, one, b'{"flower": {"petal": 1}}') == (422, "flower.petal: is missing")
        assert post(anything, b'{"value": 1}') == {"value": {"value": 1}}

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            (b"{}", "rows: is missing; send the value itself, or an object with `rows`"),
            (b'{"rows": [], "top": 1}', "top: is not known; the body may have `rows`"),
            (b'{"rows": [1]}', "rows[0]: expected an object, got an integer"),
        ],
    )
    def test_that_does_not_fit(self, body: bytes, message: str) -> None:
        assert refusal(post, rows, body) == (422, message)

    def test_tells_where_in_the_body_it_is_no_json(self) -> None:
        status, message = refusal(post, rows, b'{"rows": [{"petal": 1e999}]}')
        assert status == 400
        assert "position 20" in message

    def test_holds_what_a_query_says(self) -> None:
        assert get(rows, "rows=[{%22petal%22:1}]") == {"rows": [Flower(1.0)]}
        assert get(one, "petal=1") == {"flower": Flower(1.0)}


class TestSeveral:
    def test_are_members_of_the_body(self) -> None:
        body = b'{"top": 2, "rows": ' + FLOWERS + b"}"
        assert post(several, body) == {"rows": TWO, "top": 2}
        assert post(untyped, b'{"a": [1], "b": null}') == {"a": [1], "b": None}
        assert get(several, "rows=[]&top=2&name=y") == {"rows": [], "top": 2, "name": "y"}

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            (b'{"rows": []}', "top: is missing"),
            (b"{}", "rows: is missing"),
            (
                b'{"rows": [], "top": 1, "topp": 2}',
                "topp: is not known; the body may have `rows`, `top`, `name`",
            ),
            (b'{"rows": [], "top": "1"}', "top: expected an integer, got text"),
            (b"[1]", "Expected an object with `rows`, `top`, `name`, got an array."),
        ],
    )
    def test_that_do_not_fit(self, body: bytes, message: str) -> None:
        assert refusal(post, several, body) == (422, message)

    def test_the_first_may_be_the_body_where_the_others_have_defaults(self) -> None:
        assert post(several_with_defaults, FLOWERS) == {"rows": TWO}
        assert post(several_with_defaults, b'{"rows": [], "top": 1}') == {"rows": [], "top": 1}
        assert refusal(post, several, FLOWERS)[0] == 422

    def test_an_unannotated_one_is_any_json(self) -> None:
        assert post(old_style, b'{"data": {"a": 1}, "top": "x"}') == {"data": {"a": 1}, "top": "x"}

    def test_the_original_kind_stays_what_it_was(self) -> None:
        assert post(text, b"[1") == {"raw": "[1"}
        assert post(text_with_default, b"[1") == {"raw": "[1"}
        assert post(raw_bytes, b"\xff") == {"data": b"\xff"}


class TestTensors:
    def test_of_text_scripts_are_json_by_name(self) -> None:
        given = numbers("data", 1, 2, 3, 4, shape=(2, 2)), texts("names", b"a", "b")
        assert tensors(text, *given) == {"raw": '{"data":[[1,2],[3,4]],"names":["a","b"]}'}
        assert tensors(raw_bytes, numbers("x", 1)) == {"data": b'{"x":[1]}'}
        assert tensors(raw_bytes, texts("x", b"\xff")) == {"data": b"\xff"}

    def test_are_columns_of_rows(self) -> None:
        petals, names = numbers("petal", 1, 2.5, shape=(2, 1)), texts("name", b"?", b"a")
        assert tensors(rows, petals, names) == {"rows": TWO}
        assert refusal(tensors, rows, petals, texts("name", b"a")) == (
            422,
            "rows: its tensors must have the same number of rows",
        )
        assert refusal(tensors, rows, texts("petal", b"x")) == (
            422,
            "rows[0].petal: expected a number, got text",
        )

    def test_are_members_of_an_object(self) -> None:
        assert tensors(one, numbers("petal", 3)) == {"flower": Flower(3.0)}
        assert tensors(plain_dict, numbers("a", 3, 4)) == {"items": {"a": [3, 4]}}

    def test_that_are_not_utf_8_are_refused(self) -> None:
        assert refusal(tensors, one, texts("name", b"\xff"))[0] == 422

    def test_are_the_value_when_there_is_one(self) -> None:
        given = numbers("whatever", 1, 2, shape=(1, 2))
        assert tensors(matrix, given) == {"rows": [[1.0, 2.0]]}
        assert tensors(pots, numbers("width", 1, 2)) == {"pots": [Pot(width=1), Pot(width=2)]}
        assert refusal(tensors, matrix)[0] == 422

    def test_are_parameters_by_name(self) -> None:
        found = tensors(several, numbers("petal", 1.0), top=5, unknown=1)
        assert found == {"rows": [Flower(1.0)], "top": 5}
        found = tensors(untyped, numbers("a", 1), numbers("b", 2))
        assert found == {"a": [1], "b": [2]}
        top = Tensor("top", "INT64", (1,), [7])
        found = tensors(several, numbers("petal", 1.0), top)
        assert found == {"rows": [Flower(1.0)], "top": 7}
        assert refusal(tensors, several, numbers("petal", 1.0), numbers("rows", 1.0)) == (
            422,
            "petal: is not known beside `rows`",
        )
        assert refusal(tensors, several, numbers("petal", 1.0)) == (422, "top: is missing")

    @pytest.mark.parametrize(
        ("run", "inputs", "outputs"),
        [
            (
                rows,
                [("petal", "FP64", (-1,)), ("name", "BYTES", (-1,))],
                [],
            ),
            (matrix, [("rows", "FP64", (-1, -1))], [("output", "FP64", (-1,))]),
            (number, [("value", "INT64", (1,))], []),
            (
                several_with_defaults,
                [("petal", "FP64", (-1,)), ("name", "BYTES", (-1,)), ("top", "INT64", (1,))],
                [],
            ),
            (several, [], []),
            (union, [], []),
            (text, [], []),
        ],
    )
    def test_are_described(
        self, run: Callable[..., Any], inputs: list[Any], outputs: list[Any]
    ) -> None:
        signature = signature_of(run)
        assert list(signature.inputs) == [TensorSpec(*spec) for spec in inputs]
        assert list(signature.outputs) == [TensorSpec(*spec) for spec in outputs]


class TestTable:
    def test_is_rows(self) -> None:
        assert table(rows, ("petal", "name"), [[1, "?"], [2.5, "a"]]) == {"rows": TWO}
        assert table(matrix, None, [[1, 2]]) == {"rows": [[1.0, 2.0]]}
        assert table(plain_list, ("a",), [[1]]) == {"items": [[1]]}
        assert table(several, ("petal",), [[1]], top=2) == {"rows": [Flower(1.0)], "top": 2}
        assert refusal(table, rows, None, [[1]]) == (422, "rows: the columns must have names")

    def test_is_text_that_original_scripts_read(self) -> None:
        assert table(text, ("a",), [[1]]) == {"raw": '{"columns":["a"],"data":[[1]]}'}
        assert table(raw_bytes, None, [[1]]) == {"data": b'{"data":[[1]]}'}


class TestAnnotations:
    @pytest.mark.parametrize("annotation", [Unknown, list[Unknown], Flower | Plot, complex])
    def test_that_no_json_makes_are_found_at_the_start(self, annotation: Any) -> None:
        def run(data): ...  # type: ignore[no-untyped-def]

        run.__annotations__["data"] = annotation
        with pytest.raises(Unreadable, match="parameter `data` cannot be made from JSON"):
            signature_of(run)

    def test_that_cannot_be_evaluated_allow_anything(self) -> None:
        def run(data, other): ...  # type: ignore[no-untyped-def]

        run.__annotations__ = {"data": "Missing", "other": "int"}
        assert post(run, b'{"data": "x", "other": 1}') == {"data": "x", "other": 1}
        assert refusal(post, run, b'{"data": "x", "other": "y"}')[0] == 422

    def test_of_callables_of_every_kind(self) -> None:
        class Model:
            def __call__(self, data: bytes) -> None: ...

            def run(self, data: bytes) -> None: ...

        for run in (Model(), Model().run, functools.partial(raw_bytes)):
            assert hints_of(run)["data"] is bytes
            assert post(run, b"x") == {"data": b"x"}
