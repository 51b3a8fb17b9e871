"""Routes for keys and tokens of services."""

from __future__ import annotations

from fastapi import APIRouter

from modelyard.api.access import Owner
from modelyard.control.keys import Keys
from modelyard.domain.service import KeySlot, ServiceKeys
from modelyard.domain.tokens import ServiceToken
from modelyard.schemas import AskToken


def routes(keys: Keys) -> APIRouter:
    """Routes for what callers of a service show."""
    router = APIRouter(prefix="/services", tags=["services"])

    @router.get("/{name}/keys")
    def both(caller: Owner, name: str) -> ServiceKeys:
        """Both keys of a service."""
        return keys.of(caller, name)

    @router.post("/{name}/keys/{slot}/regenerate")
    def regenerate(caller: Owner, name: str, slot: KeySlot) -> ServiceKeys:
        """Replace one key; the old one stops working when the gateway has heard of it."""
        return keys.regenerate(caller, name, slot)

    @router.post("/{name}/token")
    def token(caller: Owner, name: str, body: AskToken) -> ServiceToken:
        """A token for a service whose callers need one."""
        return keys.token(caller, name, body)

    return router
