"""Answers that a script makes itself. `test_original` holds them against the original's."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard_runtime.compat.response import AMLResponse, response_of
from modelyard_runtime.http.server import Response


def sent(*arguments: Any, **named: Any) -> Response:
    response = response_of(AMLResponse(*arguments, **named))
    assert response is not None
    return response


def test_other_results_are_no_answers() -> None:
    assert response_of({"status_code": 200}) is None


def test_headers_may_be_changed_afterwards() -> None:
    made = AMLResponse("x", 200, {"X-A": "1"})
    made.headers["x-a"] = "2"
    made.headers.add("X-B", 3)
    response = response_of(made)
    assert response is not None
    assert (b"x-a", b"2") in response.headers
    assert (b"x-a", b"1") not in response.headers
    assert (b"x-b", b"3") in response.headers


def test_the_body_may_be_changed_afterwards() -> None:
    made = AMLResponse("x", 200)
    made.data = "é"
    assert made.get_data(as_text=True) == "é"
    assert made.data == "é".encode()


def test_a_generator_is_not_used_up_before_it_is_sent() -> None:
    made = AMLResponse((part for part in ("a", b"b")), 200)
    assert made.is_streamed
    assert list(sent_parts(made)) == ["a", b"b"]


def sent_parts(made: AMLResponse) -> Any:
    response = response_of(made)
    assert response is not None
    return response.body


@pytest.mark.parametrize("status", [500, 503])
def test_a_server_error_counts_as_a_failure_of_run(status: int) -> None:
    assert sent("x", status).headers[-1] == (b"x-ms-run-function-failed", b"True")


@pytest.mark.parametrize(
    "name",
    [
        "Content-Length",
        "transfer-encoding",
        "Connection",
        "X-Request-ID",
        "Date",
        "X-Modelyard-Capture",
        "X-Prediction-Id",
    ],
)
def test_what_the_server_says_is_not_the_scripts_to_say(name: str) -> None:
    headers = sent("x", 200, {name: "7"}).headers
    assert name.lower().encode() not in [field for field, _ in headers]


@pytest.mark.parametrize("value", ["a\r\nset-cookie: x", "a\nb", "a\0"])
def test_a_line_break_in_a_header_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="line break"):
        AMLResponse("x", 200, {"X-A": value})


@pytest.mark.parametrize("name", ["a b", "a:b", "", "é", "a\n"])
def test_a_name_that_none_has_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be called"):
        AMLResponse("x", 200, {name: "1"})


@pytest.mark.parametrize("status", [0, 100, 101, 199, 600, -200])
def test_a_status_that_ends_no_request_is_refused(status: int) -> None:
    with pytest.raises(ValueError, match="from 200 to 599"):
        response_of(AMLResponse("x", status))


def test_what_is_no_body_is_refused() -> None:
    with pytest.raises(TypeError, match="not a int"):
        AMLResponse(5, 200)


def test_an_answer_of_werkzeug_is_one() -> None:
    base = type("Response", (), {"__module__": "werkzeug.wrappers.response"})
    flask = type("Response", (base,), {"__module__": "flask.wrappers"})
    result = flask()
    result.__dict__.update(
        status_code=201,
        headers={"Content-Type": "text/csv"},
        is_streamed=False,
        get_data=lambda: b"1,2",
    )
    response = response_of(result)
    assert response is not None
    assert (response.status, response.body) == (201, b"1,2")
    assert response.headers[0] == (b"content-type", b"text/csv")
