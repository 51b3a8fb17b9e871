"""Routes for certificates of callers of services."""

from __future__ import annotations

from fastapi import APIRouter

from modelyard.api.access import Owner
from modelyard.control.certificates import Certificates
from modelyard.domain.clients import ClientCertificate, IssuedCertificate
from modelyard.schemas import AskCertificate


def routes(certificates: Certificates) -> APIRouter:
    """Routes for certificates that the workspace issues."""
    router = APIRouter(prefix="/services", tags=["services"])

    @router.get("/{name}/certificates")
    def issued(caller: Owner, name: str) -> tuple[ClientCertificate, ...]:
        """Certificates that were issued to callers of a service, the latest first."""
        return certificates.issued(caller, name)

    @router.post("/{name}/certificates", status_code=201)
    def issue(caller: Owner, name: str, body: AskCertificate) -> IssuedCertificate:
        """A certificate for a caller of a service."""
        return certificates.issue(caller, name, body)

    @router.post("/{name}/certificates/{which}/revoke")
    def revoke(caller: Owner, name: str, which: str) -> tuple[ClientCertificate, ...]:
        """Let a certificate be good no more, by its serial, or all that a caller has."""
        return certificates.revoke(caller, name, which)

    return router
