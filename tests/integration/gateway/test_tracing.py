"""Requests as spans of a gateway, sent to a real receiver; and a gateway that is not asked."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from tests.integration.gateway.kit import BEARER, Stage, route, until
from tests.integration.gateway.process import GatewayProcess
from tests.integration.runtime.otlp import Receiver, attributes, receiving

from modelyard.domain.keys import make_key

pytestmark = pytest.mark.anyio

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACED = {
    **BEARER,
    "traceparent": f"00-{TRACE}-{PARENT}-01",
    "tracestate": "vendor=1",
    "baggage": "customer=7",
    "x-request-id": "mine",
}
SCORE = "/services/digits/score"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Sets a receiver of spans for gateways that are started from then on."""

    def ask(url: str) -> None:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")

    return ask


async def spans(receiver: Receiver, count: int) -> list[Any]:
    await until(lambda: len(receiver.spans) >= count)
    return sorted(receiver.spans, key=lambda span: int(span.start_time_unix_nano))


async def test_a_request_is_a_span_between_its_callers_and_its_replicas(
    stage: Stage, asked: Callable[[str], None]
) -> None:
    replica = await stage.replica("a")
    with receiving() as receiver:
        asked(receiver.url)
        with GatewayProcess(stage.folder) as gateway:
            gateway.configure(route(replica))
            client = gateway.client()
            refused = {"authorization": f"Bearer {make_key(b'n' * 32, 'f' * 16).text}"}
            assert (await client.request(SCORE, b"x", headers=refused)).status == 401
            assert (await client.request(SCORE, b"x", headers=TRACED)).status == 200
            assert (await client.request(SCORE, b"x")).status == 200
            large = await client.request(SCORE, b"x" * 400_000, headers=TRACED)
            assert (large.status, len(large.body)) == (200, 400_000)
            gateway.configure(route())
            assert (await client.request(SCORE, b"x", headers=TRACED)).status == 503
            client.close()
            assert gateway.terminate() == 0
            ours, root, streamed, failed = await spans(receiver, 4)
    assert (ours.name, ours.trace_id.hex(), ours.parent_span_id.hex()) == (
        f"POST {SCORE}",
        TRACE,
        PARENT,
    )
    told = attributes(ours)
    assert told["modelyard.request_id"] == "mine"
    assert (told["http.response.status_code"], told["modelyard.attempts"]) == (200, 1)
    assert (told["modelyard.service"], told["modelyard.replica"]) == ("digits", "a")
    assert receiver.resources[0]["service.name"] == "modelyard-gateway"
    assert root.trace_id.hex() != TRACE
    assert not root.parent_span_id
    assert attributes(failed)["http.response.status_code"] == 503
    assert failed.status.code == 2
    for request, span in zip(replica.requests, (ours, root, streamed), strict=True):
        fields = request.head.headers
        (parent,) = fields.get_all(b"traceparent")
        assert parent.startswith(f"00-{span.trace_id.hex()}-{span.span_id.hex()}-0".encode())
    fields = replica.requests[0].head.headers
    assert fields.get_all(b"tracestate") == [b"vendor=1"]
    assert fields.get_all(b"baggage") == [b"customer=7"]


async def test_a_client_that_goes_ends_its_span(stage: Stage, asked: Callable[[str], None]) -> None:
    begun = asyncio.Event()

    async def never(_: object) -> Any:
        begun.set()
        await asyncio.sleep(60)

    replica = await stage.replica("a", never)
    with receiving() as receiver:
        asked(receiver.url)
        with GatewayProcess(stage.folder) as gateway:
            gateway.configure(route(replica))
            client = gateway.client()
            waiting = asyncio.create_task(client.request(SCORE, b"x", headers=TRACED))
            await begun.wait()
            client.vanish()
            await asyncio.gather(waiting, return_exceptions=True)
            (span,) = await spans(receiver, 1)
    assert (span.status.code, span.status.message) == (2, "the client has gone")


async def test_a_receiver_that_is_gone_costs_no_request(
    stage: Stage, asked: Callable[[str], None]
) -> None:
    replica = await stage.replica("a")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        asked(f"http://127.0.0.1:{taken.getsockname()[1]}")
        with GatewayProcess(stage.folder) as gateway:
            gateway.configure(route(replica))
            client = gateway.client()
            for _ in range(20):
                assert (await client.request(SCORE, b"x", headers=TRACED)).status == 200
            client.close()
            assert gateway.terminate() == 0


async def test_without_a_receiver_a_trace_passes_as_it_comes(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    replica = await stage.replica("a")
    with GatewayProcess(stage.folder) as gateway:
        gateway.configure(route(replica))
        client = gateway.client()
        assert (await client.request(SCORE, b"x", headers=TRACED)).status == 200
        client.close()
    fields = replica.requests[0].head.headers
    assert fields.get(b"traceparent") == TRACED["traceparent"].encode()


def test_a_gateway_that_is_not_asked_imports_nothing_of_it() -> None:
    program = "import sys, modelyard.agent.gateway.__main__\n"
    program += "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    subprocess.run([sys.executable, "-c", program], check=True)


async def test_a_missing_package_is_told_and_requests_go_on(
    stage: Stage, asked: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    replica = await stage.replica("a")
    asked("http://127.0.0.1:9")
    hidden = stage.folder / "hidden" / "opentelemetry"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text("raise ImportError('No module named opentelemetry')\n")
    monkeypatch.setenv("PYTHONPATH", str(hidden.parent))
    with GatewayProcess(stage.folder) as gateway:
        gateway.configure(route(replica))
        client = gateway.client()
        assert (await client.request(SCORE, b"x", headers=TRACED)).status == 200
        client.close()
        assert "modelyard[otel]" in gateway.log
