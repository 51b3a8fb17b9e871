"""Callers with certificates, good and bad, and the authority that they are from."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from modelyard.agent.gateway.config import ClientFiles
from modelyard.files import replace_file

PEM = serialization.Encoding.PEM
DAY = timedelta(days=1)


class Caller:
    """A certificate and its key."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self.certificate = certificate
        self._key = key

    def show_in(self, context: ssl.SSLContext) -> ssl.SSLContext:
        """The context, with the certificate to show."""
        key = self._key.private_bytes(
            PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        with TemporaryDirectory() as folder:
            path = Path(folder, "caller.pem")
            path.write_bytes(key + self.certificate.public_bytes(PEM))
            context.load_cert_chain(path)
        return context


class Callers:
    """An authority of callers, and its files for a gateway."""

    def __init__(self, folder: Path, name: str = "authority of callers") -> None:
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._authorities, self._revoked = folder / "clients.pem", folder / "revoked.pem"
        self.certificate = self._signed(
            self._name,
            self._key.public_key(),
            (x509.BasicConstraints(True, 0), True),
        )
        replace_file(self._authorities, self.certificate.public_bytes(PEM))
        self.revoke()

    @property
    def files(self) -> ClientFiles:
        return ClientFiles(str(self._authorities), str(self._revoked))

    def trust(self, *others: Callers) -> None:
        """Let the gateway know other authorities instead."""
        replace_file(
            self._authorities, b"".join(one.certificate.public_bytes(PEM) for one in others)
        )

    def caller(
        self,
        *alternatives: x509.GeneralName,
        common_name: str = "somebody",
        ends: timedelta = DAY,
        usage: x509.ObjectIdentifier = ExtendedKeyUsageOID.CLIENT_AUTH,
    ) -> Caller:
        key = ec.generate_private_key(ec.SECP256R1())
        extensions: list[tuple[x509.ExtensionType, bool]] = [
            (x509.ExtendedKeyUsage([usage]), False)
        ]
        if alternatives:
            extensions.append((x509.SubjectAlternativeName(alternatives), False))
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        return Caller(self._signed(subject, key.public_key(), *extensions, ends=ends), key)

    def revoke(self, *callers: Caller, ends: timedelta = DAY, by: Callers | None = None) -> None:
        """Write the list of those that are good no more, signed by this authority or another."""
        now = datetime.now(UTC)
        builder = x509.CertificateRevocationListBuilder(self._name, now - DAY, now + ends)
        for caller in callers:
            serial = caller.certificate.serial_number
            one = x509.RevokedCertificateBuilder(serial, now - DAY).build()
            builder = builder.add_revoked_certificate(one)
        signed = builder.sign((by or self)._key, hashes.SHA256())
        replace_file(self._revoked, signed.public_bytes(PEM))

    def break_list(self) -> None:
        """What a list looks like that is half written."""
        whole = self._revoked.read_bytes()
        replace_file(self._revoked, whole[: len(whole) // 2])

    def _signed(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePublicKey,
        *extensions: tuple[x509.ExtensionType, bool],
        ends: timedelta = DAY,
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(
            self._name, subject, key, x509.random_serial_number(), now - 2 * DAY, now + ends
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(self._key, hashes.SHA256())


def uri(name: str) -> x509.GeneralName:
    return x509.UniformResourceIdentifier(name)


def dns(*names: str) -> Sequence[x509.GeneralName]:
    return [x509.DNSName(name) for name in names]
