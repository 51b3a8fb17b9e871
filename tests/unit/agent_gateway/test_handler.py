from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from tests.unit.runtime.replies import outcome

from modelyard.agent.gateway import admission, handler
from modelyard.agent.gateway.config import GatewayConfig, Key, ServiceRoute
from modelyard.agent.gateway.counters import counters_in_memory
from modelyard.agent.gateway.handler import Gateway
from modelyard.domain.keys import ServiceKey, make_key, verify_key
from modelyard.domain.tokens import make_token, public_key
from modelyard_runtime.http.server import Head, Headers, Request, Response

ONE, TWO = (make_key(b"m" * 32, key_id) for key_id in ("0123456789abcdef", "fedcba9876543210"))
ROUTE = ServiceRoute(
    name="digits",
    auth="key",
    keys=(Key(ONE.id, "primary", ONE.hash), Key(TWO.id, "secondary", TWO.hash)),
    scoring_timeout=60.0,
    max_concurrent_requests=1,
    max_queue_wait=0.0,
    upstreams=(),
)
OPEN = replace(ROUTE, name="open", auth="none")


def ask(
    *configs: GatewayConfig,
    path: str = "/services/digits/score",
    authorization: str | None = None,
    query: str = "",
    gateways: list[Gateway] | None = None,
) -> Response:
    """The answer of a gateway that has no replicas: 503 means that the caller was let in."""

    async def run() -> Response:
        gateway = Gateway(counters_in_memory())
        for config in configs or (GatewayConfig(1, (ROUTE, OPEN)),):
            gateway.apply(config)
        headers = [(b"host", b"h"), (b"x-request-id", b"mine")]
        if authorization is not None:
            headers.append((b"authorization", authorization.encode()))
        answer = outcome(gateway.handle(Request("POST", path, query, Headers(headers), b"")))
        if gateways is not None:
            gateways.append(gateway)
        return answer

    return asyncio.run(run())


def code(response: Response) -> tuple[int, str]:
    return response.status, json.loads(response.body)["code"]


LET_IN = (503, "unavailable")
REFUSED = (401, "unauthenticated")


@pytest.mark.parametrize("key", [ONE, TWO])
@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER   "])
def test_both_keys_open(key: ServiceKey, scheme: str) -> None:
    assert code(ask(authorization=scheme + key.text)) == LET_IN


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        ONE.text,
        f"Basic {ONE.text}",
        f"Bearer {ONE.text}x",
        f"Bearer {ONE._replace(secret=TWO.secret).text}",
        f"Bearer {ONE._replace(id='0' * 16).text}",
        f"Bearer my_{ONE.id}_",
        f"Bearer {ONE.text} {TWO.text}",
        "Bearer nonsense",
    ],
)
def test_everything_else_does_not(authorization: str | None) -> None:
    response = ask(authorization=authorization)
    assert code(response) == REFUSED
    assert (b"www-authenticate", b"Bearer") in response.headers
    assert (b"x-request-id", b"mine") in response.headers
    assert json.loads(response.body)["request_id"] == "mine"


@pytest.mark.parametrize(
    "path", ["/services/digits", "/services/digits/livez", "/services/digits/"]
)
def test_every_path_of_a_service_needs_the_key(path: str) -> None:
    assert code(ask(path=path)) == REFUSED


def test_a_key_in_the_query_is_no_key() -> None:
    assert code(ask(query=f"key={ONE.text}&access_token={ONE.text}")) == REFUSED


def test_a_key_of_another_service_is_no_key() -> None:
    other = replace(ROUTE, name="other", keys=())
    config = GatewayConfig(1, (ROUTE, other))
    answer = ask(config, path="/services/other/score", authorization=f"Bearer {ONE.text}")
    assert code(answer) == REFUSED


def test_a_service_may_be_open_to_everybody() -> None:
    assert code(ask(path="/services/open/score")) == LET_IN


@pytest.mark.parametrize("path", ["score", "metrics", "livez", "swagger.json"])
def test_where_certificates_are_wanted_nothing_else_opens_anything(path: str) -> None:
    wanting = replace(ROUTE, auth="cert", clients=("dns:billing.example",))
    config = GatewayConfig(1, (wanting,), figures="/nowhere.sock")
    answer = ask(config, path=f"/services/digits/{path}", authorization=f"Bearer {ONE.text}")
    assert code(answer) == (403, "certificate_refused")
    assert "none was shown" in json.loads(answer.body)["message"]


def test_an_unknown_kind_of_authentication_needs_a_key() -> None:
    assert code(ask(GatewayConfig(1, (replace(ROUTE, auth="certificate"),)))) == REFUSED


def test_an_unknown_service_is_404_in_the_same_form() -> None:
    known, unknown = ask(), ask(path="/services/nothing/score")
    assert code(unknown) == (404, "not_found")
    assert json.loads(known.body).keys() == json.loads(unknown.body).keys()


@pytest.mark.parametrize(
    ("path", "authorization"),
    [
        ("/services/digits/score", None),
        ("/services/digits/score", "Bearer nonsense"),
        ("/services/digits/score", f"Bearer {ONE._replace(id='0' * 16).text}"),
        ("/services/digits/score", f"Bearer {ONE._replace(secret='x' * 43).text}"),
        ("/services/nothing/score", None),
        ("/services/nothing/score", f"Bearer {ONE.text}"),
    ],
)
def test_every_refusal_costs_one_hash(monkeypatch, path: str, authorization: str | None) -> None:
    hashed = []

    def counting(key: ServiceKey, stored: str | None) -> bool:
        hashed.append(key)
        return verify_key(key, stored)

    monkeypatch.setattr(admission, "verify_key", counting)
    ask(path=path, authorization=authorization)
    assert len(hashed) == 1


def test_an_old_key_ends_with_the_next_configuration() -> None:
    async def run() -> list[int]:
        gateway = Gateway(counters_in_memory())
        headers = Headers([(b"authorization", f"Bearer {ONE.text}".encode())])
        statuses = []
        for version, keys in enumerate((ROUTE.keys, ROUTE.keys[1:], ROUTE.keys), 1):
            gateway.apply(GatewayConfig(version, (replace(ROUTE, keys=keys),)))
            for _ in range(2):
                request = Request("POST", "/services/digits/score", "", headers, b"")
                statuses.append(outcome(gateway.handle(request)).status)
        return statuses

    assert asyncio.run(run()) == [503, 503, 401, 401, 503, 503]


def test_what_is_remembered_of_a_head_ends_with_the_next_configuration() -> None:
    async def run() -> list[int]:
        gateway = Gateway(counters_in_memory())
        fields = Headers([(b"authorization", f"Bearer {ONE.text}".encode())])
        head = Head("POST", "/services/digits/score", "", fields)
        statuses = []
        for version, keys in enumerate((ROUTE.keys, ROUTE.keys[1:], ROUTE.keys), 1):
            gateway.apply(GatewayConfig(version, (replace(ROUTE, keys=keys),)))
            for _ in range(2):
                assert (gateway.admit(head) is None) == (version != 2)
                statuses.append(outcome(gateway.handle(Request.of(head))).status)
        gateway.apply(GatewayConfig(4))
        statuses.append(outcome(gateway.handle(Request.of(head))).status)
        return statuses

    assert asyncio.run(run()) == [503, 503, 401, 401, 503, 503, 404]


def test_a_head_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        gateway = Gateway(counters_in_memory())
        gateway.apply(GatewayConfig(1, (ROUTE,)))
        fields = Headers([(b"authorization", f"Bearer {ONE.text}".encode())])
        head = Head("POST", "/services/digits/score", "", fields)
        assert gateway.admit(head) is None
        monkeypatch.setattr(handler, "split_path", None)
        for _ in range(3):
            assert gateway.admit(head) is None
            assert outcome(gateway.handle(Request.of(head))).status == 503

    asyncio.run(run())


@pytest.mark.parametrize(
    ("length", "streamed"), [(0, False), (256 << 10, False), ((256 << 10) + 1, True), (None, True)]
)
def test_bodies_that_may_be_large_are_streamed(length: int | None, streamed: bool) -> None:
    head = Head("POST", "/", "", Headers([]), length=length)
    assert Gateway.wants_stream(head) is streamed


def test_refusals_are_counted_by_service_with_the_public_part_only() -> None:
    gateways: list[Gateway] = []
    wrong = ONE._replace(secret="x" * 43)
    ask(authorization=f"Bearer {wrong.text}", gateways=gateways)
    refused = gateways[0].take_refused()
    assert list(refused) == ["digits"]
    assert (refused["digits"].count, refused["digits"].key_id) == (1, ONE.id)
    ask(authorization="Bearer \x1b[31m", gateways=gateways)
    assert gateways[1].take_refused()["digits"].key_id is None
    ask(path="/services/nothing/score", gateways=gateways)
    assert gateways[2].take_refused() == {}


def test_livez_and_readyz() -> None:
    assert ask(path="/livez").status == 200
    assert ask(path="/readyz").status == 200

    async def before_the_first_configuration() -> int:
        gateway = Gateway(counters_in_memory())
        return outcome(gateway.handle(Request("GET", "/readyz", "", Headers([]), b""))).status

    assert asyncio.run(before_the_first_configuration()) == 503


@pytest.mark.parametrize(
    "path", ["/", "/services", "/metrics", "/livez/", "/Services/digits/score"]
)
def test_other_paths_are_404(path: str) -> None:
    assert code(ask(path=path)) == (404, "not_found")


def test_ids_are_made_when_the_caller_has_none_and_never_repeat() -> None:
    async def run() -> list[str]:
        ids = []
        for _ in range(2):
            gateway = Gateway(counters_in_memory())
            for _ in range(100):
                answer = outcome(gateway.handle(Request("GET", "/", "", Headers([]), b"")))
                ids.append(json.loads(answer.body)["request_id"])
        return ids

    ids = asyncio.run(run())
    assert len(set(ids)) == 200
    assert all(len(request_id) == 32 for request_id in ids)


MASTER = b"m" * 32
BY_TOKEN = replace(
    ROUTE, auth="token", keys=(Key(ONE.id, "primary", ONE.hash, public_key(MASTER, ONE.id)),)
)


def token(lifetime: timedelta = timedelta(hours=1), service: str = "digits") -> str:
    now = datetime.now(UTC)
    return make_token(MASTER, ONE.id, service, "owner", now, lifetime).token


def test_a_token_opens_its_service() -> None:
    config = GatewayConfig(1, (BY_TOKEN,))
    assert code(ask(config, authorization=f"Bearer {token()}")) == LET_IN
    assert code(ask(config, authorization=f"Bearer {token(service='iris')}")) == REFUSED
    assert code(ask(config, authorization=f"Bearer {token()}x")) == REFUSED
    assert code(ask(config, authorization=f"Bearer {ONE.text}")) == REFUSED
    assert code(ask(config)) == REFUSED


def test_a_token_does_not_open_a_service_that_wants_a_key() -> None:
    config = GatewayConfig(1, (replace(BY_TOKEN, auth="key"),))
    assert code(ask(config, authorization=f"Bearer {token()}")) == REFUSED


def test_a_token_that_ends_is_refused_on_a_connection_that_lives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def run() -> list[tuple[int, str]]:
        gateway = Gateway(counters_in_memory())
        gateway.apply(GatewayConfig(1, (BY_TOKEN,)))
        fields = [(b"host", b"h"), (b"authorization", f"Bearer {token()}".encode())]
        request = Request("POST", "/services/digits/score", "", Headers(fields), b"")
        before = code(outcome(gateway.handle(request)))
        later = time.time() + 2 * 3600
        monkeypatch.setattr(time, "time", lambda: later)
        return [before, code(outcome(gateway.handle(request)))]

    assert asyncio.run(run()) == [LET_IN, REFUSED]


class TestOrigins:
    """Calls from web pages of other origins."""

    PAGE = (b"origin", b"https://app.example")
    ASKS = (b"access-control-request-method", b"POST")
    ALLOWS = (b"access-control-allow-origin", b"https://app.example")

    @staticmethod
    def answer(method: str, *fields: tuple[bytes, bytes]) -> Response:
        async def run() -> Response:
            gateway = Gateway(counters_in_memory())
            route = replace(ROUTE, cors_origins=("https://app.example",))
            gateway.apply(GatewayConfig(1, (route, OPEN)))
            headers = Headers([(b"host", b"h"), *fields])
            return outcome(
                gateway.handle(Request(method, "/services/digits/score", "", headers, b""))
            )

        return asyncio.run(run())

    def test_a_browser_may_ask_first_without_a_key(self) -> None:
        response = self.answer("OPTIONS", self.PAGE, self.ASKS)
        assert response.status == 200
        assert self.ALLOWS in response.headers

    def test_the_call_itself_needs_the_key_and_the_page_can_read_that(self) -> None:
        response = self.answer("POST", self.PAGE)
        assert code(response) == REFUSED
        assert self.ALLOWS in response.headers

    def test_every_answer_of_the_service_can_be_read(self) -> None:
        key = (b"authorization", f"Bearer {ONE.text}".encode())
        response = self.answer("POST", self.PAGE, key)
        assert code(response) == LET_IN
        assert self.ALLOWS in response.headers

    @pytest.mark.parametrize("page", [b"https://app.example.evil", b"null", b"http://app.example"])
    def test_no_other_page_may(self, page: bytes) -> None:
        response = self.answer("OPTIONS", (b"origin", page), self.ASKS)
        assert code(response) == REFUSED
        assert all(name != b"access-control-allow-origin" for name, _ in response.headers)

    def test_options_that_are_no_question_need_the_key(self) -> None:
        assert code(self.answer("OPTIONS", self.PAGE)) == REFUSED
