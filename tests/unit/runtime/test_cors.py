"""Which web pages may read answers."""

from __future__ import annotations

import pytest

from modelyard_runtime.http.cors import Cors, across_origins
from modelyard_runtime.http.server import Headers, HttpError, Reply, Request, Response

ORIGIN = (b"origin", b"https://a.example")
ASKS = (b"access-control-request-method", b"POST")
ALLOWS = (b"access-control-allow-origin", b"https://a.example")
VARY = (b"vary", b"Origin")


def request(*pairs: tuple[bytes, bytes], method: str = "POST") -> Request:
    return Request(method, "/score", "", Headers(list(pairs)), b"")


def answer(request: Request) -> Response:
    return Response(200, b"ok", [(b"x-own", b"1")])


def fields(origins: str, *pairs: tuple[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    response = Cors(origins, answer)(request(*pairs))
    assert isinstance(response, Response)
    assert response.headers[0] == (b"x-own", b"1")
    return response.headers[1:]


class TestEnvironment:
    def test_nothing_said_changes_nothing(self) -> None:
        assert across_origins(answer, {"AML_CORS_ORIGINS": " "}) is answer

    @pytest.mark.parametrize("name", ["MODELYARD_CORS_ORIGINS", "AML_CORS_ORIGINS"])
    def test_either_name_switches_it_on(self, name: str) -> None:
        response = across_origins(answer, {name: "https://a.example"})(request(ORIGIN))
        assert isinstance(response, Response)
        assert ALLOWS in response.headers

    def test_our_name_wins(self) -> None:
        environment = {"MODELYARD_CORS_ORIGINS": "https://b.example", "AML_CORS_ORIGINS": "*"}
        response = across_origins(answer, environment)(request(ORIGIN))
        assert isinstance(response, Response)
        assert ALLOWS not in response.headers


class TestAnswers:
    def test_a_listed_origin_is_allowed_in_any_case(self) -> None:
        assert fields(" https://b.example , HTTPS://A.example ", ORIGIN) == [VARY, ALLOWS]

    def test_another_origin_is_not(self) -> None:
        assert fields("https://a.example.evil", ORIGIN) == [VARY]

    def test_any_origin_is_named(self) -> None:
        assert fields("*", ORIGIN) == [VARY, ALLOWS]

    def test_no_origin_is_no_cross_origin_request(self) -> None:
        assert fields("*") == [VARY]

    def test_what_a_script_says_counts(self) -> None:
        own = (b"access-control-allow-origin", b"*")
        response = Cors("*", lambda _: Response(200, b"", [own]))(request(ORIGIN))
        assert isinstance(response, Response)
        assert response.headers == [own]

    def test_a_refusal_can_be_read(self) -> None:
        def refuse(request: Request) -> Response:
            raise HttpError(415, "no")

        response = Cors("*", refuse)(request(ORIGIN))
        assert isinstance(response, Response)
        assert response.status == 415
        assert ALLOWS in response.headers


class Receiver:
    def __init__(self) -> None:
        self.got: list[Response] = []

    def replied(self, response: Response) -> None:
        self.got.append(response)


class TestLaterAnswers:
    def test_are_passed_on_with_the_fields(self) -> None:
        inner, receiver = Reply(), Receiver()
        reply = Cors("*", lambda _: inner)(request(ORIGIN))
        assert isinstance(reply, Reply)
        assert reply.promise_to(receiver) is None
        inner.send(Response(200, b"late"))
        assert [(r.body, r.headers) for r in receiver.got] == [(b"late", [VARY, ALLOWS])]

    def test_that_are_early_are_kept(self) -> None:
        inner = Reply()
        inner.send(Response(200, b"early"))
        reply = Cors("*", lambda _: inner)(request(ORIGIN))
        assert isinstance(reply, Reply)
        response = reply.promise_to(Receiver())
        assert response is not None
        assert ALLOWS in response.headers

    def test_nobody_waits_for_are_abandoned(self) -> None:
        inner = Reply()
        reply = Cors("*", lambda _: inner)(request(ORIGIN))
        assert isinstance(reply, Reply)
        reply.forsake()
        assert inner.abandoned


class TestPreflight:
    def test_allows_methods_and_the_headers_asked_for(self) -> None:
        asked = (b"access-control-request-headers", b"x-b, authorization")
        response = Cors("*", answer)(request(ORIGIN, ASKS, asked, method="OPTIONS"))
        assert isinstance(response, Response)
        assert (response.status, response.body) == (200, b"")
        assert response.headers == [
            VARY,
            ALLOWS,
            (b"access-control-allow-methods", b"GET, POST"),
            (b"access-control-allow-headers", b"authorization, x-b"),
        ]

    @pytest.mark.parametrize("method", ["OPTIONS", "POST"])
    def test_other_requests_reach_the_handler(self, method: str) -> None:
        asking = request(ORIGIN, ASKS, method=method)
        handler = Cors("https://b.example" if method == "OPTIONS" else "*", answer)
        response = handler(asking)
        assert isinstance(response, Response)
        assert response.body == b"ok"


def test_a_refusal_by_the_head_alone_can_be_read_too() -> None:
    shared = Cors("*", answer)
    head = request(ORIGIN).head
    refusal = shared.admitting(lambda _, __: Response(401))(head, None)
    assert refusal is not None
    assert refusal.headers == [VARY, ALLOWS]
    assert shared.admitting(lambda _, __: None)(head, None) is None


def test_what_an_answer_says_in_fields_that_are_written_already_counts() -> None:
    said = b"Access-Control-Allow-Origin: *\r\n"
    response = Cors("*", lambda _: Response(200, b"", encoded=said))(request(ORIGIN))
    assert isinstance(response, Response)
    assert response.headers == []
