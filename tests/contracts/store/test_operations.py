"""What the store of operations and their logs must do, on whatever database."""

from __future__ import annotations

from uuid import uuid4

import pytest
from tests.factories import OWNER, WORKSPACE, add_running_image

from modelyard.domain.operation import Operation, OperationKind, OperationState
from modelyard.domain.search import Search
from modelyard.errors import InvalidRequest, NotFound
from modelyard.store import Transaction, operations


def begin(tx: Transaction, resource: str = "service iris") -> Operation:
    return tx.operations.add(WORKSPACE, OperationKind.SERVICE_DEPLOY, resource, OWNER)


def found(tx: Transaction, **filters: object) -> list[str]:
    page = tx.operations.search(WORKSPACE, Search.model_validate(filters))
    return [operation.resource for operation in page.items]


def texts(tx: Transaction, operation: Operation, after: int = 0, limit: int = 1000) -> list[str]:
    return [line.text for line in tx.operations.log(operation.id, after, limit)]


class TestState:
    def test_runs_until_it_is_finished(self, tx: Transaction) -> None:
        operation = begin(tx)
        assert operation.state is OperationState.RUNNING
        error = {"code": "conflict", "message": "no", "hint": "", "details": {"a": [1]}}
        finished = tx.operations.finish(operation.id, OperationState.FAILED, error)
        assert (finished.state, finished.error) == (OperationState.FAILED, error)
        assert tx.operations.get(WORKSPACE, operation.id) == finished

    def test_stays_as_it_ended(self, tx: Transaction) -> None:
        operation = begin(tx)
        ended = tx.operations.finish(operation.id, OperationState.SUCCEEDED)
        assert tx.operations.finish(operation.id, OperationState.FAILED, {"code": "x"}) == ended

    def test_is_seen_in_its_workspace_only(self, tx: Transaction, elsewhere: str) -> None:
        operation = begin(tx)
        with pytest.raises(NotFound):
            tx.operations.get(elsewhere, operation.id)
        with pytest.raises(NotFound):
            tx.operations.get(WORKSPACE, uuid4())

    def test_lists_what_runs(self, tx: Transaction, elsewhere: str) -> None:
        one, two = begin(tx, "service one"), begin(tx, "service two")
        ended = begin(tx, "service one")
        tx.operations.finish(ended.id, OperationState.CANCELLED)
        assert tx.operations.running() == (one, two)
        assert tx.operations.running(WORKSPACE, "service one") == (one,)
        assert tx.operations.running(elsewhere) == ()


class TestSearch:
    def test_finds_newest_first(self, tx: Transaction) -> None:
        begin(tx, "service iris")
        add_running_image(tx, "iris")
        begin(tx, "service iris_2")
        assert found(tx) == ["service iris_2", "image iris:1", "service iris"]
        assert found(tx, name="iris") == ["image iris:1", "service iris"]
        assert found(tx, name="iri_") == []
        assert found(tx, text="SERVICE") == ["service iris_2", "service iris"]

    def test_pages(self, tx: Transaction) -> None:
        for number in range(3):
            begin(tx, f"service s{number}")
        first = tx.operations.search(WORKSPACE, Search(limit=2))
        assert found(tx, page=first.next) == ["service s0"]

    @pytest.mark.parametrize("filters", [{"tag": ["a"]}, {"model": "iris"}, {"version": 1}])
    def test_refuses_filters_of_other_things(
        self, tx: Transaction, filters: dict[str, object]
    ) -> None:
        with pytest.raises(InvalidRequest, match="operations cannot be searched by"):
            found(tx, **filters)


class TestLog:
    def test_numbers_lines_from_one(self, tx: Transaction) -> None:
        operation = begin(tx)
        tx.operations.append_log(operation.id, "lock", ["a", "b"])
        tx.operations.append_log(operation.id, "check", ["c"])
        lines = tx.operations.log(operation.id)
        assert [(line.sequence, line.source, line.text) for line in lines] == [
            (1, "lock", "a"),
            (2, "lock", "b"),
            (3, "check", "c"),
        ]
        assert texts(tx, operation, after=1, limit=1) == ["b"]
        assert texts(tx, operation, after=3) == []

    def test_takes_any_text(self, tx: Transaction) -> None:
        operation = begin(tx)
        tx.operations.append_log(operation.id, "x", ["nul \0", "lone \udc80", "", "ü" * 20_000])
        assert texts(tx, operation)[:3] == ["nul \ufffd", "lone ?", ""]
        assert texts(tx, operation)[3] == "ü" * operations.LONGEST_LINE

    def test_is_bounded(self, tx: Transaction, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(operations, "MOST_LINES", 3)
        operation = begin(tx)
        for start in range(0, 8, 2):
            tx.operations.append_log(operation.id, "x", [str(start), str(start + 1)])
        assert texts(tx, operation) == [
            "0",
            "1",
            "the log is full at 3 lines; what follows is not kept",
        ]

    def test_of_nothing_is_not_found(self, tx: Transaction) -> None:
        with pytest.raises(NotFound):
            tx.operations.append_log(uuid4(), "x", ["a"])
        with pytest.raises(NotFound):
            tx.operations.log(uuid4())
