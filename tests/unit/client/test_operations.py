from __future__ import annotations

from typing import Any

import pytest
from tests.unit.client.fake_server import FakeServer

from modelyard.client import Client
from modelyard.domain.operation import LogLine
from modelyard.errors import (
    BuildFailed,
    InvalidRequest,
    NotFound,
    OperationFailed,
    OperationTimedOut,
)


@pytest.fixture
def operation(server: FakeServer) -> dict[str, Any]:
    return server._operation("image.build", "image digits", None)


class TestWait:
    def test_returns_what_ended_well(self, yard: Client, operation: dict[str, Any]) -> None:
        assert str(yard.operations.wait(operation["id"]).id) == operation["id"]

    def test_raises_what_the_server_recorded(self, yard: Client, server: FakeServer) -> None:
        cause = {"code": "no_wheel", "message": "no wheel"}
        error = BuildFailed("failed", hint="h", details={"cause": cause})
        failed = server._operation("image.build", "image digits", error)
        with pytest.raises(BuildFailed) as caught:
            yard.operations.wait(failed["id"])
        assert caught.value.details == {"cause": cause}

    def test_cancelled_is_a_failure(self, yard: Client, operation: dict[str, Any]) -> None:
        operation["state"] = "Cancelled"
        with pytest.raises(OperationFailed, match="was cancelled"):
            yard.operations.wait(operation["id"])

    def test_timeout_says_that_it_goes_on(self, yard: Client, operation: dict[str, Any]) -> None:
        operation["state"] = "Running"
        with pytest.raises(OperationTimedOut) as caught:
            yard.operations.wait(operation["id"], timeout=0)
        assert caught.value.details == {"operation": operation["id"]}

    def test_asks_for_long_answers(
        self, yard: Client, server: FakeServer, operation: dict[str, Any]
    ) -> None:
        yard.operations.wait(operation["id"])
        assert server.requests[-1].url.params["wait"] == "20.0"

    def test_passes_the_log_on(self, yard: Client, operation: dict[str, Any]) -> None:
        lines: list[LogLine] = []
        yard.operations.wait(operation["id"], on_log=lines.append)
        assert [line.text for line in lines] == ["resolving", "starting"]

    def test_interrupt_carries_what_goes_on(self, yard: Client, operation: dict[str, Any]) -> None:
        def interrupt(line: LogLine) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt) as caught:
            yard.operations.wait(operation["id"], on_log=interrupt)
        assert operation["id"] in caught.value.__notes__[0]


class TestFind:
    def test_list(self, yard: Client, operation: dict[str, Any]) -> None:
        assert [str(found.id) for found in yard.operations.list()] == [operation["id"]]

    def test_log(self, yard: Client, operation: dict[str, Any]) -> None:
        assert [line.sequence for line in yard.operations.log(operation["id"])] == [1, 2]

    def test_wrong_id_is_refused(self, yard: Client) -> None:
        with pytest.raises(InvalidRequest, match="not the id of an operation"):
            yard.operations.get("../info")

    def test_unknown(self, yard: Client, server: FakeServer) -> None:
        unknown = "00000000-0000-0000-0000-000000000000"
        server.operations = _Missing()
        with pytest.raises(NotFound):
            yard.operations.get(unknown)


class _Missing(dict[str, Any]):
    def __missing__(self, key: str) -> Any:
        raise NotFound(f"operation `{key}` not found")
