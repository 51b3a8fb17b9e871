"""The workspace's own small certificate authority: for the gateway, and for callers of services.

Its files are what it knows: the certificates that it has issued to callers, and the list of those
that it has revoked. Renewed while the server runs; the gateway takes new files by itself.
"""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from modelyard.files import replace_file

LIFE = timedelta(days=90)
"""Of a gateway's certificate, and of the list of revoked ones; they are renewed when a third of
that is left."""
_OWN_LIFE = timedelta(days=3650)
EARLIER = timedelta(hours=1)
"""How far clocks of callers may be behind."""
_NAME = "modelyard workspace authority"

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey
Span = tuple[datetime, timedelta]
"""When it begins, and how long it is."""


class Authority:
    """An authority whose files are in one folder, readable by their owner only."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.certificate = folder / "authority.pem"
        """What callers trust."""
        self._key = folder / "authority.key"
        self.gateway_certificate = folder / "gateway.pem"
        self.gateway_key = folder / "gateway.key"
        self.revoked = folder / "revoked.pem"
        """The list of certificates that are good no more."""
        self._clients = folder / "clients"
        self._lock = threading.Lock()

    def renew(self, names: Sequence[str], now: datetime | None = None) -> bool:
        """See to it that the gateway has a certificate for these names that lasts for a while.

        Args:
            names: Host names and addresses that callers use.
            now: The time, in UTC.

        Returns:
            Whether a new one was issued.
        """
        at = now or datetime.now(UTC)
        self.ensure(at)
        if _lasts(self.gateway_certificate, names, at + LIFE / 3):
            return False
        key = ec.generate_private_key(ec.SECP256R1())
        issued = self._issue(
            _named(names[0]),
            [_general_name(name) for name in names],
            key.public_key(),
            ExtendedKeyUsageOID.SERVER_AUTH,
            (at, LIFE),
        )
        replace_file(self.gateway_key, _private(key))
        replace_file(self.gateway_certificate, _pem(issued))
        return True

    def ensure(self, now: datetime | None = None) -> None:
        """See to it that there is an authority, and a list of revoked certificates in date."""
        at = now or datetime.now(UTC)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not self.certificate.exists():
            self._begin(at)
        with self._lock:
            found = self._read_revoked()
            ends = found.next_update_utc if found is not None else None
            if ends is None or ends <= at + LIFE / 3:
                self._write_revoked(found, (), at)

    def issue_client(
        self, group: str, subject: str, name: str, key: PublicKey, life: timedelta, now: datetime
    ) -> x509.Certificate:
        """A certificate for a caller, which is remembered.

        Args:
            group: What it is remembered under; becomes the name of a folder.
            subject: How the caller is called; identifies nobody.
            name: The URI that identifies it.
            key: Its public key.
            life: How long it is good for.
            now: The time, in UTC.
        """
        alternatives = [x509.UniformResourceIdentifier(name)]
        usage = ExtendedKeyUsageOID.CLIENT_AUTH
        issued = self._issue(_named(subject), alternatives, key, usage, (now, life))
        folder = self._clients / group
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(folder / f"{issued.serial_number:x}.pem", _pem(issued))
        return issued

    def issued(self, group: str) -> Iterator[x509.Certificate]:
        """The certificates that are remembered under a group."""
        for path in sorted((self._clients / group).glob("*.pem")):
            yield x509.load_pem_x509_certificate(path.read_bytes())

    def revocations(self) -> dict[int, datetime]:
        """When certificates were revoked, by their serial numbers."""
        found = self._read_revoked()
        return {one.serial_number: one.revocation_date_utc for one in found or ()}

    def revoke(self, serials: Sequence[int], now: datetime) -> None:
        """Let certificates be good no more; those that are revoked already stay as they are."""
        with self._lock:
            self._write_revoked(self._read_revoked(), serials, now)

    def _read_revoked(self) -> x509.CertificateRevocationList | None:
        if not self.revoked.exists():
            return None
        return x509.load_pem_x509_crl(self.revoked.read_bytes())

    def _write_revoked(
        self, before: x509.CertificateRevocationList | None, serials: Sequence[int], at: datetime
    ) -> None:
        """Write the list anew, with further certificates in it."""
        listed = {one.serial_number: one for one in before or ()}
        for serial in serials:
            one = x509.RevokedCertificateBuilder(serial, at.replace(microsecond=0)).build()
            listed.setdefault(serial, one)
        own = self._own_key()
        builder = x509.CertificateRevocationListBuilder(
            issuer_name=_named(_NAME),
            last_update=at - EARLIER,
            next_update=at + LIFE,
            revoked_certificates=list(listed.values()),
        )
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(own.public_key())
        builder = builder.add_extension(identifier, critical=False)
        builder = builder.add_extension(x509.CRLNumber(_number(before) + 1), critical=False)
        signed = builder.sign(own, hashes.SHA256())
        replace_file(self.revoked, signed.public_bytes(serialization.Encoding.PEM))

    def _begin(self, at: datetime) -> None:
        """Make the authority itself; its certificate comes last, so that half of it is none."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _certificate(_named(_NAME), key.public_key(), (at, _OWN_LIFE))
        builder = builder.add_extension(x509.BasicConstraints(True, 0), critical=True)
        builder = builder.add_extension(_usage(signs_certificates=True), critical=True)
        replace_file(self._key, _private(key))
        made = builder.sign(key, hashes.SHA256())
        replace_file(self.certificate, _pem(made))

    def _own_key(self) -> ec.EllipticCurvePrivateKey:
        own = serialization.load_pem_private_key(self._key.read_bytes(), None)
        assert isinstance(own, ec.EllipticCurvePrivateKey), "the authority's key is its own"
        return own

    def _issue(
        self,
        subject: x509.Name,
        names: Sequence[x509.GeneralName],
        key: PublicKey,
        usage: x509.ObjectIdentifier,
        span: Span,
    ) -> x509.Certificate:
        own = self._own_key()
        builder = _certificate(subject, key, span)
        for extension, critical in (
            (x509.SubjectAlternativeName(names), False),
            (x509.BasicConstraints(False, None), True),
            (_usage(signs_certificates=False), True),
            (x509.ExtendedKeyUsage([usage]), False),
            (x509.AuthorityKeyIdentifier.from_issuer_public_key(own.public_key()), False),
        ):
            builder = builder.add_extension(extension, critical)
        return builder.sign(own, hashes.SHA256())


def _certificate(subject: x509.Name, key: PublicKey, span: Span) -> x509.CertificateBuilder:
    at, life = span
    builder = x509.CertificateBuilder(
        subject_name=subject,
        issuer_name=_named(_NAME),
        public_key=key,
        serial_number=x509.random_serial_number(),
        not_valid_before=at - EARLIER,
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


def _number(revoked: x509.CertificateRevocationList | None) -> int:
    """How many lists there were."""
    if revoked is None:
        return 0
    return revoked.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
