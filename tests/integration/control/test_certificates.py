"""Certificates of callers: who gets one, for what, and when it is good no more."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from tests.integration.control.yard import AGENT, OWNER, Yard

from modelyard.client.certificates import make_key
from modelyard.control.authority import Authority
from modelyard.control.certificates import Certificates
from modelyard.domain.clients import IssuedCertificate, allowing
from modelyard.domain.service import ServiceSettings
from modelyard.errors import Conflict, InvalidRequest, NotFound
from modelyard.schemas import AskCertificate, DeployService, SettingsChange, UpdateService
from modelyard.store import Database

BY_CERTIFICATE = ServiceSettings.model_validate({"auth": "cert"})


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    authority = Authority(tmp_path / "authority")
    authority.ensure()
    return authority


@pytest.fixture
def yard(tmp_path: Path, authority: Authority) -> Yard:
    database = Database(f"sqlite:///{tmp_path / 'modelyard.db'}")
    database.migrate()
    yard = Yard(database, authority)
    yard.image()
    deploy(yard, "digits")
    return yard


@pytest.fixture
def certificates(yard: Yard, authority: Authority) -> Certificates:
    return Certificates(yard.database, authority, secure=True)


def deploy(yard: Yard, name: str, settings: ServiceSettings = BY_CERTIFICATE) -> None:
    yard.services.deploy(OWNER, DeployService(name=name, image="iris", settings=settings))


def ask(client: str = "billing", request: str | None = None) -> AskCertificate:
    return AskCertificate(client=client, request=request or make_key().request, lifetime=3600)


def let_in(yard: Yard, name: str, issued: IssuedCertificate) -> bool:
    services = yard.agents.desired(AGENT, "local").services
    return next(allowing(one.clients)(issued.name) for one in services if one.name == name)


def test_a_certificate_opens_one_service(yard: Yard, certificates: Certificates) -> None:
    deploy(yard, "other")
    issued = certificates.issue(OWNER, "digits", ask())
    assert let_in(yard, "digits", issued)
    assert not let_in(yard, "other", issued)


def test_not_one_of_the_same_name_later(yard: Yard, certificates: Certificates) -> None:
    issued = certificates.issue(OWNER, "digits", ask())
    yard.report()
    yard.services.delete(OWNER, "digits")
    with yard.database.write() as tx:
        tx.services.delete(tx.services.get("default", "digits").id)
    deploy(yard, "digits")
    assert not let_in(yard, "digits", issued)
    assert certificates.issued(OWNER, "digits") == ()


def test_is_for_the_key_of_the_request_and_for_clients_alone(
    certificates: Certificates, authority: Authority
) -> None:
    made = make_key()
    issued = certificates.issue(OWNER, "digits", ask(request=made.request))
    certificate = x509.load_pem_x509_certificate(issued.pem.encode())
    own = serialization.load_pem_private_key(made.key.encode(), None)
    assert certificate.public_key() == own.public_key()
    certificate.verify_directly_issued_by(
        x509.load_pem_x509_certificate(authority.certificate.read_bytes())
    )
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [x509.ExtendedKeyUsageOID.CLIENT_AUTH]
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert issued.expires_at - issued.issued_at == timedelta(hours=1)


def test_names_in_a_request_mean_nothing(certificates: Certificates) -> None:
    key = rsa.generate_private_key(65537, 2048)
    wish = x509.SubjectAlternativeName([x509.UniformResourceIdentifier("spiffe://example.org/me")])
    builder = x509.CertificateSigningRequestBuilder(x509.Name([])).add_extension(wish, True)
    pem = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    issued = certificates.issue(OWNER, "digits", ask(request=pem.decode()))
    found = x509.load_pem_x509_certificate(issued.pem.encode())
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [f"uri:{name.value}" for name in names] == [issued.name]


def test_revoked_ones_are_in_the_list(certificates: Certificates, authority: Authority) -> None:
    one, two, three = (certificates.issue(OWNER, "digits", ask(c)) for c in ("a", "a", "b"))
    assert len(certificates.revoke(OWNER, "digits", one.serial)) == 1
    assert set(authority.revocations()) == {int(one.serial, 16)}
    assert len(certificates.revoke(OWNER, "digits", "a")) == 2
    assert set(authority.revocations()) == {int(one.serial, 16), int(two.serial, 16)}
    before = authority.revocations()
    authority.ensure()
    assert authority.revocations() == before
    states = {one.serial: one.revoked_at is None for one in certificates.issued(OWNER, "digits")}
    assert states == {one.serial: False, two.serial: False, three.serial: True}
    for unknown in ("c", "0" * 40):
        with pytest.raises(NotFound):
            certificates.revoke(OWNER, "digits", unknown)


def test_requests_that_are_none(certificates: Certificates) -> None:
    whole = make_key().request
    weak = x509.CertificateSigningRequestBuilder(x509.Name([])).sign(
        rsa.generate_private_key(65537, 1024),
        hashes.SHA256(),
    )
    odd = x509.CertificateSigningRequestBuilder(x509.Name([])).sign(
        dsa.generate_private_key(2048), hashes.SHA256()
    )
    pems = [one.public_bytes(serialization.Encoding.PEM).decode() for one in (weak, odd)]
    for request in ("", "nonsense", whole[: len(whole) // 2], _forged(whole), *pems):
        with pytest.raises(InvalidRequest, match="signing request is not taken"):
            certificates.issue(OWNER, "digits", AskCertificate(client="a", request=request))


def _forged(request: str) -> str:
    """The request with the signature of another one."""
    one, other = (x509.load_pem_x509_csr(r.encode()) for r in (request, make_key().request))
    der = one.public_bytes(serialization.Encoding.DER).replace(one.signature, other.signature)
    try:
        return x509.load_der_x509_csr(der).public_bytes(serialization.Encoding.PEM).decode()
    except ValueError:  # signatures of different length: then it is no request at all
        return der.hex()


def test_callers_that_could_never_come_are_refused(yard: Yard, tmp_path: Path) -> None:
    plain = Yard(yard.database)
    with pytest.raises(InvalidRequest, match="needs TLS"):
        deploy(plain, "more")
    change = UpdateService(settings=SettingsChange(auth="cert"))
    deploy(plain, "keys", ServiceSettings())
    with pytest.raises(InvalidRequest, match="needs TLS"):
        plain.changes.update(OWNER, "keys", change)
    others = Certificates(yard.database, None, secure=True)
    with pytest.raises(InvalidRequest, match="names of clients"):
        others.refuse_unusable(BY_CERTIFICATE)
    others.refuse_unusable(ServiceSettings.model_validate({"auth": "cert", "clients": ["dns:a"]}))
    with pytest.raises(Conflict, match="issues no certificates"):
        others.issue(OWNER, "digits", ask())


def test_an_end_that_is_near_is_told_until_there_is_another_one(
    yard: Yard, authority: Authority, certificates: Certificates
) -> None:
    yard.report()
    service = yard.services.get(OWNER, "digits")
    assert service.status.cause is None
    now, key = datetime.now(UTC), ec.generate_private_key(ec.SECP256R1()).public_key()

    def issue(client: str, age: int, life: int) -> None:
        authority.issue_client(
            str(service.id),
            client,
            f"modelyard://{client}",
            key,
            timedelta(days=life),
            now - timedelta(days=age),
        )

    issue("fresh", 1, 90)
    issue("forgotten", 200, 90)
    assert yard.services.why(OWNER, "digits") is None
    issue("billing", 84, 90)
    cause = yard.services.why(OWNER, "digits")
    assert cause is not None
    assert "client `billing` of `digits` ends within 7 days" in cause.message
    issue("ended", 92, 90)
    cause = yard.services.why(OWNER, "digits")
    assert cause is not None
    assert "`ended` of `digits` has ended" in cause.message
    certificates.revoke(OWNER, "digits", "ended")
    issue("billing", 0, 90)
    assert yard.services.why(OWNER, "digits") is None
