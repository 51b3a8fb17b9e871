"""What the store of minutes must do, on whatever database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from tests.factories import AGENT, add_service

from modelyard.domain.telemetry import DeploymentFigures, Minute
from modelyard.store import Transaction
from modelyard_runtime.families import Figures

BEGIN = datetime(2026, 11, 27, 9, 30, tzinfo=UTC)
REQUESTS = "modelyard_gateway_requests_total"


@pytest.fixture
def service(tx: Transaction) -> UUID:
    return add_service(tx).id


def figures(count: float) -> Figures:
    return {REQUESTS: {'status="200"': [count]}}


def minute(number: int, *told: tuple[UUID, UUID | None, float]) -> Minute:
    deployments = tuple(
        DeploymentFigures(
            service=service,
            service_name="digits",
            deployment=deployment,
            image="digits:1" if deployment else "",
            figures=figures(count),
        )
        for service, deployment, count in told
    )
    return Minute(begins=BEGIN + timedelta(minutes=number), deployments=deployments)


def read(tx: Transaction, service: UUID, since: int = 0) -> list[tuple[int, float]]:
    return [
        ((at - BEGIN) // timedelta(minutes=1), found[REQUESTS]['status="200"'][0])
        for at, found in tx.minutes.read(service, BEGIN + timedelta(minutes=since))
    ]


def test_minutes_come_back_in_order_from_a_moment_on(tx: Transaction, service: UUID) -> None:
    deployment = uuid4()
    for number in (2, 0, 1):
        tx.minutes.add(AGENT, minute(number, (service, deployment, number)))
    assert read(tx, service) == [(0, 0), (1, 1), (2, 2)]
    assert read(tx, service, since=1) == [(1, 1), (2, 2)]


def test_one_that_came_before_changes_nothing(tx: Transaction, service: UUID) -> None:
    one, other = uuid4(), uuid4()
    tx.minutes.add(AGENT, minute(0, (service, one, 1)))
    tx.minutes.add(AGENT, minute(0, (service, one, 7), (service, other, 2), (service, None, 3)))
    tx.minutes.add(AGENT, minute(0, (service, None, 9)))
    assert sorted(read(tx, service)) == [(0, 1), (0, 2), (0, 3)]


def test_what_belongs_to_nobody_is_dropped(tx: Transaction, service: UUID) -> None:
    tx.minutes.add("stranger", minute(0, (service, uuid4(), 1)))
    tx.minutes.add(AGENT, minute(0, (uuid4(), uuid4(), 1)))
    assert read(tx, service) == []


def test_old_ones_expire(tx: Transaction, service: UUID) -> None:
    for number in range(4):
        tx.minutes.add(AGENT, minute(number, (service, uuid4(), number)))
    tx.minutes.expire(BEGIN + timedelta(minutes=2))
    assert read(tx, service) == [(2, 2), (3, 3)]


def test_they_go_with_their_service(tx: Transaction, service: UUID) -> None:
    tx.minutes.add(AGENT, minute(0, (service, uuid4(), 1)))
    tx.services.mark_deleting("default", "digits")
    tx.services.delete(service)
    assert read(tx, service) == []
