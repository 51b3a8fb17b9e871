"""Routes for alerts and the channels that are told of them."""

from __future__ import annotations

from fastapi import APIRouter, Response

from modelyard.api.access import Owner
from modelyard.control.alerts import Alerts
from modelyard.domain.alert import Alert
from modelyard.domain.channel import Channel, Delivered, NewChannel
from modelyard.schemas import AddChannel


def routes(alerts: Alerts) -> APIRouter:
    """Routes for callers."""
    router = APIRouter(prefix="/alerts", tags=["alerts"])

    @router.get("")
    def list_alerts(caller: Owner, service: str | None = None) -> tuple[Alert, ...]:
        """How every alert stands, of one service or of all."""
        return alerts.list(caller, service)

    @router.get("/channels")
    def channels(caller: Owner) -> tuple[Channel, ...]:
        """Where messages go, and how that went."""
        return alerts.channels(caller)

    @router.post("/channels", status_code=201)
    def add(caller: Owner, body: AddChannel) -> NewChannel:
        """Make a channel; the secret of a webhook is in this answer only."""
        return alerts.add_channel(caller, body)

    @router.delete("/channels/{name}", status_code=204)
    def delete(caller: Owner, name: str) -> Response:
        """Take a channel away, with what was still to be sent there."""
        alerts.delete_channel(caller, name)
        return Response(status_code=204)

    @router.post("/channels/{name}/test")
    def test(caller: Owner, name: str) -> Delivered:
        """Send a message to a channel now, once."""
        return alerts.test_channel(caller, name)

    return router
