"""Certificates of callers: issued for one service by the workspace's own authority, and revoked."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from modelyard.control.authority import EARLIER, Authority, PublicKey
from modelyard.domain.cause import Cause, CauseCode
from modelyard.domain.clients import ClientCertificate, IssuedCertificate, issued_name
from modelyard.domain.expiry import Life
from modelyard.domain.principal import Principal
from modelyard.domain.service import Authentication, Service, ServiceSettings
from modelyard.errors import Conflict, InvalidRequest, NotFound
from modelyard.schemas import AskCertificate
from modelyard.store import Database

_LEAST_RSA = 2048
_REMEMBERED = timedelta(days=7)
"""For so long it is said of a certificate that it has ended."""


class Certificates:
    """What the gateway asks of callers with certificates, and who gets one here.

    Args:
        database: Knows the services.
        authority: Issues them; None: the authorities of callers are others.
        secure: The gateway speaks TLS, so that callers can show certificates.
    """

    def __init__(self, database: Database, authority: Authority | None, *, secure: bool) -> None:
        self._database = database
        self._authority = authority
        self._secure = secure

    def refuse_unusable(self, settings: ServiceSettings) -> None:
        """Refuse settings by which nobody could call a service.

        Raises:
            InvalidRequest: Its callers are to have certificates, and cannot.
        """
        if settings.auth is not Authentication.CERT:
            return
        if not self._secure:
            raise InvalidRequest(
                "`auth` `cert` needs TLS, and the gateway speaks none",
                hint="start the server with MODELYARD_GATEWAY_CERTIFICATE=own, or a certificate",
            )
        if self._authority is None and not settings.clients:
            raise InvalidRequest(
                "`auth` `cert` lets nobody in without names of clients",
                hint="give `clients`: names in the certificates of its callers",
            )

    def issue(self, principal: Principal, name: str, request: AskCertificate) -> IssuedCertificate:
        """A certificate for a caller of a service.

        Raises:
            NotFound: There is no such service.
            Conflict: The authorities of callers are others.
            InvalidRequest: The signing request is none, or its key is too weak.
        """
        authority = self._own()
        service = self._service(principal, name)
        key = _requested_key(request.request)
        issued = authority.issue_client(
            str(service.id),
            request.client,
            issued_name(service.id, request.client).removeprefix("uri:"),
            key,
            timedelta(seconds=request.lifetime),
            datetime.now(UTC),
        )
        pem = issued.public_bytes(serialization.Encoding.PEM).decode()
        return IssuedCertificate(**_described(issued, {}).model_dump(), pem=pem)

    def issued(self, principal: Principal, name: str) -> tuple[ClientCertificate, ...]:
        """Those issued for a service, the latest first."""
        authority = self._own()
        service = self._service(principal, name)
        revoked = authority.revocations()
        found = [_described(one, revoked) for one in authority.issued(str(service.id))]
        return tuple(sorted(found, key=lambda one: one.issued_at, reverse=True))

    def ending(self, principal: Principal, service: Service) -> Cause | None:
        """Which caller's certificate ends soon, or has lately and was not replaced; the first."""
        if self._authority is None or service.settings.auth is not Authentication.CERT:
            return None
        now = datetime.now(UTC)
        latest = {one.client: one for one in reversed(self.issued(principal, service.name))}
        for one in sorted(latest.values(), key=lambda one: one.expires_at):
            told = Life(one.issued_at, one.expires_at).told(now)
            if told and one.revoked_at is None and now - one.expires_at < _REMEMBERED:
                return Cause(
                    code=CauseCode.CERTIFICATE_EXPIRES,
                    message=f"The certificate of client `{one.client}` of `{service.name}` {told}.",
                    evidence=(f"serial: {one.serial}",),
                    fix=f"`modelyard service certificates issue {service.name} {one.client} --file "
                    "FILE` makes the next one; revoke it when it is not needed any more.",
                )
        return None

    def revoke(self, principal: Principal, name: str, which: str) -> tuple[ClientCertificate, ...]:
        """Let certificates be good no more; the gateway knows within a second.

        Args:
            principal: Who asks.
            name: Of the service.
            which: A serial number, or how a caller is called: then all that it has.

        Raises:
            NotFound: There is no such service, or no such certificate of it.
        """
        chosen = [one for one in self.issued(principal, name) if which in (one.serial, one.client)]
        if not chosen:
            raise NotFound(
                f"`{name}` has no client certificate `{which[:100]}`",
                hint=f"`modelyard service certificates list {name}` shows those there are",
            )
        self._own().revoke([int(one.serial, 16) for one in chosen], datetime.now(UTC))
        serials = {one.serial for one in chosen}
        return tuple(one for one in self.issued(principal, name) if one.serial in serials)

    def _own(self) -> Authority:
        if self._authority is None:
            raise Conflict(
                "the workspace issues no certificates to callers here",
                hint="start the server with MODELYARD_GATEWAY_CERTIFICATE=own, and without "
                "MODELYARD_GATEWAY_CLIENT_AUTHORITIES; or ask those authorities for a certificate",
            )
        return self._authority

    def _service(self, principal: Principal, name: str) -> Service:
        with self._database.read() as tx:
            return tx.services.get(principal.workspace, name)


def _requested_key(pem: str) -> PublicKey:
    try:
        request = x509.load_pem_x509_csr(pem.encode())
        genuine = request.is_signature_valid
        key = request.public_key()
    except Exception as error:  # whatever a stranger's bytes make of the parser
        raise _bad_request("it cannot be read") from error
    if not genuine:
        raise _bad_request("it is not signed with its own key")
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < _LEAST_RSA:
        raise _bad_request(f"its RSA key has {key.key_size} bits, and {_LEAST_RSA} are needed")
    if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey):
        raise _bad_request("its key is of a kind that is not taken")
    return key


def _bad_request(reason: str) -> InvalidRequest:
    return InvalidRequest(
        f"the certificate signing request is not taken: {reason}",
        hint="make one with `openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes "
        "-subj / -keyout client.key -out client.csr`",
    )


def _described(certificate: x509.Certificate, revoked: Mapping[int, datetime]) -> ClientCertificate:
    alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    uri = alternatives.value.get_values_for_type(x509.UniformResourceIdentifier)[0]
    client = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    return ClientCertificate(
        serial=f"{certificate.serial_number:x}",
        client=str(client),
        name=f"uri:{uri}",
        issued_at=certificate.not_valid_before_utc + EARLIER,
        expires_at=certificate.not_valid_after_utc,
        revoked_at=revoked.get(certificate.serial_number),
    )
