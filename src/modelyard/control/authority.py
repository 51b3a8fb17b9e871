"""The workspace's own small certificate authority: its certificate, and the one of the gateway.

Used by the composition root where the gateway's certificate is to be the workspace's own. Renewed
while the server runs; the gateway takes new files by itself.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from modelyard.files import replace_file

LIFE = timedelta(days=90)
"""Of a gateway's certificate; it is renewed when a third of that is left."""
_OWN_LIFE = timedelta(days=3650)
_EARLIER = timedelta(hours=1)
"""How far clocks of callers may be behind."""
_NAME = "modelyard workspace authority"


class Authority:
    """An authority whose files are in one folder, readable by their owner only."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.certificate = folder / "authority.pem"
        """What callers trust."""
        self._key = folder / "authority.key"
        self.gateway_certificate = folder / "gateway.pem"
        self.gateway_key = folder / "gateway.key"

    def renew(self, names: Sequence[str], now: datetime | None = None) -> bool:
        """See to it that the gateway has a certificate for these names that lasts for a while.

        Args:
            names: Host names and addresses that callers use.
            now: The time, in UTC.

        Returns:
            Whether a new one was issued.
        """
        at = now or datetime.now(UTC)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not self.certificate.exists():
            self._begin(at)
        if _lasts(self.gateway_certificate, names, at + LIFE / 3):
            return False
        key = ec.generate_private_key(ec.SECP256R1())
        issued = self._issue(key, names, at)
        replace_file(self.gateway_key, _private(key))
        replace_file(self.gateway_certificate, issued.public_bytes(serialization.Encoding.PEM))
        return True

    def _begin(self, at: datetime) -> None:
        """Make the authority itself; its certificate comes last, so that half of it is none."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _certificate(_NAME, _NAME, key.public_key(), at, _OWN_LIFE)
        builder = builder.add_extension(x509.BasicConstraints(True, 0), critical=True)
        builder = builder.add_extension(_usage(signs_certificates=True), critical=True)
        replace_file(self._key, _private(key))
        made = builder.sign(key, hashes.SHA256())
        replace_file(self.certificate, made.public_bytes(serialization.Encoding.PEM))

    def _issue(
        self, key: ec.EllipticCurvePrivateKey, names: Sequence[str], at: datetime
    ) -> x509.Certificate:
        own = serialization.load_pem_private_key(self._key.read_bytes(), None)
        assert isinstance(own, ec.EllipticCurvePrivateKey), "the authority's key is its own"
        builder = _certificate(names[0], _NAME, key.public_key(), at, LIFE)
        alternatives = x509.SubjectAlternativeName([_general_name(name) for name in names])
        for extension, critical in (
            (alternatives, False),
            (x509.BasicConstraints(False, None), True),
            (_usage(signs_certificates=False), True),
            (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
            (x509.AuthorityKeyIdentifier.from_issuer_public_key(own.public_key()), False),
        ):
            builder = builder.add_extension(extension, critical)
        return builder.sign(own, hashes.SHA256())


def _certificate(
    subject: str,
    issuer: str,
    key: ec.EllipticCurvePublicKey,
    at: datetime,
    life: timedelta,
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder(
        subject_name=_named(subject),
        issuer_name=_named(issuer),
        public_key=key,
        serial_number=x509.random_serial_number(),
        not_valid_before=at - _EARLIER,
        not_valid_after=at + life,
    )
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    with suppress(ValueError):
        return x509.IPAddress(ipaddress.ip_address(name))
    return x509.DNSName(name)


def _lasts(path: Path, names: Sequence[str], until: datetime) -> bool:
    """Whether there is a certificate for just these names that is good until then."""
    try:
        found = x509.load_pem_x509_certificate(path.read_bytes())
        alternatives = found.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (OSError, ValueError, x509.ExtensionNotFound):
        return False
    wanted = {_general_name(name) for name in names}
    return set(alternatives.value) == wanted and found.not_valid_after_utc > until


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
