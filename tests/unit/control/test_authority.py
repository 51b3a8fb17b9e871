from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from modelyard.control.authority import LIFE, Authority

NOW = datetime(2026, 11, 27, tzinfo=UTC)
NAMES = ("models.example", "127.0.0.1", "::1")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


def issued(authority: Authority) -> x509.Certificate:
    return x509.load_pem_x509_certificate(authority.gateway_certificate.read_bytes())


def test_a_certificate_is_issued_by_the_authority_for_the_names(authority: Authority) -> None:
    assert authority.renew(NAMES, NOW)
    own = x509.load_pem_x509_certificate(authority.certificate.read_bytes())
    certificate = issued(authority)
    certificate.verify_directly_issued_by(own)
    alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert alternatives.get_values_for_type(x509.DNSName) == ["models.example"]
    assert [str(ip) for ip in alternatives.get_values_for_type(x509.IPAddress)] == list(NAMES[1:])
    assert certificate.not_valid_after_utc == NOW + LIFE


def test_openssl_takes_the_files(authority: Authority) -> None:
    authority.renew(NAMES)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.gateway_certificate, authority.gateway_key)
    trusting = ssl.create_default_context(cafile=str(authority.certificate))
    server, client = ssl.MemoryBIO(), ssl.MemoryBIO()
    there = context.wrap_bio(client, server, server_side=True)
    here = trusting.wrap_bio(server, client, server_hostname="models.example")
    for _ in range(4):
        for side in (here, there):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert here.version() == "TLSv1.3"


def test_it_is_renewed_when_a_third_of_its_life_is_left(authority: Authority) -> None:
    authority.renew(NAMES, NOW)
    first, key = issued(authority), authority.gateway_key.read_bytes()
    assert not authority.renew(NAMES, NOW + LIFE * 0.6)
    assert authority.renew(NAMES, NOW + LIFE * 0.7)
    assert issued(authority).serial_number != first.serial_number
    assert authority.gateway_key.read_bytes() != key


def test_other_names_take_another_certificate_and_the_same_authority(authority: Authority) -> None:
    authority.renew(NAMES, NOW)
    own = authority.certificate.read_bytes()
    assert authority.renew(("other.example",), NOW)
    assert authority.certificate.read_bytes() == own


@pytest.mark.parametrize("content", [b"", b"nonsense"])
def test_a_damaged_certificate_is_replaced(authority: Authority, content: bytes) -> None:
    authority.renew(NAMES, NOW)
    authority.gateway_certificate.write_bytes(content)
    assert authority.renew(NAMES, NOW)
    assert issued(authority).not_valid_after_utc == NOW + LIFE


def test_an_authority_that_was_interrupted_begins_anew(authority: Authority) -> None:
    authority.renew(NAMES, NOW - timedelta(days=1))
    authority.certificate.unlink()
    authority.gateway_certificate.unlink()
    assert authority.renew(NAMES, NOW)
    own = x509.load_pem_x509_certificate(authority.certificate.read_bytes())
    issued(authority).verify_directly_issued_by(own)


def test_files_are_their_owners_alone(authority: Authority) -> None:
    authority.renew(NAMES, NOW)
    for path in authority.certificate.parent.iterdir():
        assert path.stat().st_mode & 0o077 == 0
