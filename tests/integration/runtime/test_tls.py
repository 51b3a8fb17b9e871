"""TLS: who may connect, and certificates that change while the server runs."""

from __future__ import annotations

import datetime
import logging
import os
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from tests.integration.runtime.server import Running, computed, echo, serving
from tests.integration.runtime.wire import Wire, request

from modelyard_runtime.http.server import Limits, Request, Response, Tls
from modelyard_runtime.http.tls import TlsFiles

LIMITS = Limits(
    header_time=0.4, handshake_time=0.5
)  # a short tick: files are looked at each second


class Authority:
    """A certificate authority, and files for a server."""

    def __init__(self, folder: Path) -> None:
        self.ca = trustme.CA()
        self.files = TlsFiles(folder / "server.pem", folder / "server.key")
        self.folder = folder
        self.issue("here")

    def issue(self, *names: str) -> None:
        """Replace the server's files, the way a deployment does: one after the other."""
        certificate = self.ca.issue_cert(*names)
        for path, blobs in (
            (self.files.certificate, certificate.cert_chain_pems),
            (self.files.key, [certificate.private_key_pem]),
        ):
            _replace(path, b"".join(blob.bytes() for blob in blobs))

    def trusting(self, **options: ssl.TLSVersion) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self.ca.configure_trust(context)
        for name, value in options.items():
            setattr(context, name, value)
        return context

    def client(self, name: str) -> tuple[ssl.SSLContext, trustme.LeafCert]:
        context, certificate = self.trusting(), self.ca.issue_cert(name, common_name="somebody")
        certificate.configure_cert(context)
        return context, certificate

    def asking_for_certificates(self, *, revoked: Path | None = None) -> Tls:
        authorities = self.folder / "clients.pem"
        _replace(authorities, self.ca.cert_pem.bytes())
        return Tls(TlsFiles(self.files.certificate, self.files.key, authorities, revoked))

    def revoke(self, path: Path, *certificates: trustme.LeafCert) -> None:
        """Write the list of those that are revoked."""
        key = serialization.load_pem_private_key(self.ca.private_key_pem.bytes(), None)
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateRevocationListBuilder(
            x509.load_pem_x509_certificate(self.ca.cert_pem.bytes()).subject,
            now - datetime.timedelta(days=1),
            now + datetime.timedelta(days=1),
        )
        for certificate in certificates:
            serial = x509.load_pem_x509_certificate(
                certificate.cert_chain_pems[0].bytes()
            ).serial_number
            entry = x509.RevokedCertificateBuilder(serial, now).build()
            builder = builder.add_revoked_certificate(entry)
        crl = builder.sign(key, hashes.SHA256())  # type: ignore[arg-type]
        _replace(path, crl.public_bytes(serialization.Encoding.PEM))


def _replace(path: Path, data: bytes) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_bytes(data)
    os.replace(fresh, path)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def secure(authority: Authority) -> Iterator[Running]:
    with serving(echo, LIMITS, tls=Tls(authority.files)) as running:
        yield running


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


class TestTls:
    def test_serves(self, authority: Authority, secure: Running) -> None:
        with Wire(secure.path, authority.trusting()) as wire:
            for body in (b"abc", b"x" * 300_000):
                wire.send(request("POST", "/a", body))
                assert wire.answer().body == b"POST /a  %d" % len(body)
            wire.send(request("GET", "/large", close=True))
            assert len(wire.answer().body) == 8 << 20
            assert wire.rest() == b""

    def test_speaks_http_1_1(self, authority: Authority, secure: Running) -> None:
        context = authority.trusting()
        context.set_alpn_protocols(["h2", "http/1.1"])
        with Wire(secure.path, context) as wire:
            assert isinstance(wire._socket, ssl.SSLSocket)
            assert wire._socket.selected_alpn_protocol() == "http/1.1"
            assert wire._socket.version() == "TLSv1.3"

    def test_1_2_is_the_oldest_and_has_forward_secrecy(
        self, authority: Authority, secure: Running
    ) -> None:
        with Wire(secure.path, authority.trusting(maximum_version=ssl.TLSVersion.TLSv1_2)) as wire:
            assert isinstance(wire._socket, ssl.SSLSocket)
            cipher = wire._socket.cipher()
            assert cipher is not None
            assert cipher[0].startswith("ECDHE-")

    @pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
    def test_older_ones_are_refused(self, authority: Authority, secure: Running) -> None:
        context = authority.trusting(
            minimum_version=ssl.TLSVersion.TLSv1_1, maximum_version=ssl.TLSVersion.TLSv1_1
        )
        context.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.raises(ssl.SSLError):
            Wire(secure.path, context)

    def test_a_client_that_speaks_plainly_harms_nobody(
        self, authority: Authority, secure: Running, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.WARNING):
            with Wire(secure.path) as wire:
                wire.send(request())
                assert b"HTTP/" not in wire.rest()
            self.test_serves(authority, secure)
        assert caplog.records == []

    def test_a_handshake_has_its_time(self, secure: Running) -> None:
        with Wire(secure.path) as wire:
            assert wire.rest() == b""

    def test_a_refused_client_is_told(self, authority: Authority, secure: Running) -> None:
        with Wire(secure.path, authority.trusting()) as wire:
            wire.send(b"NONSENSE\r\n\r\n")
            assert wire.answer().status == 400

    def test_a_drain_ends_it(self, authority: Authority, secure: Running) -> None:
        with Wire(secure.path, authority.trusting()) as wire:
            wire.send(request())
            assert wire.answer().status == 200
            secure.drain(20)
            assert wire.rest() == b""


class TestChange:
    def test_new_connections_get_the_new_certificate(
        self, authority: Authority, secure: Running
    ) -> None:
        with Wire(secure.path, authority.trusting()) as old:
            old.send(request())
            assert old.answer().status == 200
            authority.issue("there")
            until(lambda: self.is_served_as(secure, authority, "there"))
            old.send(request())
            assert old.answer().status == 200

    def test_what_is_no_certificate_changes_nothing(
        self, authority: Authority, secure: Running, caplog: pytest.LogCaptureFixture
    ) -> None:
        key = authority.files.key.read_bytes()
        _replace(authority.files.key, b"nonsense")
        until(lambda: "stays the old one" in caplog.text)
        assert self.is_served_as(secure, authority, "here")
        authority.files.key.unlink()
        time.sleep(1.5)
        assert self.is_served_as(secure, authority, "here")
        _replace(authority.files.key, key)
        authority.issue("there")
        until(lambda: self.is_served_as(secure, authority, "there"))
        assert key.decode() not in caplog.text

    @staticmethod
    def is_served_as(running: Running, authority: Authority, name: str) -> bool:
        try:
            with Wire(running.path, authority.trusting(), name) as wire:
                wire.send(request())
                return wire.answer().status == 200
        except ssl.SSLCertVerificationError:
            return False


class TestClients:
    @staticmethod
    async def who(request: Request) -> Response:
        assert request.peer is not None
        peer = request.peer
        return Response(200, f"{peer.subject['commonName']} {peer.names}".encode())

    def served(self, running: Running, context: ssl.SSLContext) -> bool:
        """With TLS 1.3 a client learns that it was refused when it reads."""
        try:
            with Wire(running.path, context) as wire:
                wire.send(request())
                return wire.answer().status == 200
        except (ssl.SSLError, ConnectionError):
            return False

    def test_with_a_certificate_are_known(self, authority: Authority) -> None:
        context, _ = authority.client("client.example")
        tls = authority.asking_for_certificates()
        with serving(computed(self.who), tls=tls) as running, Wire(running.path, context) as wire:
            for _ in range(2):
                wire.send(request())
                assert wire.answer().body == b"somebody (('DNS', 'client.example'),)"

    def test_without_one_are_refused(self, authority: Authority, tmp_path: Path) -> None:
        strangers = authority.trusting()
        trustme.CA().issue_cert("client.example").configure_cert(strangers)
        with serving(echo, tls=authority.asking_for_certificates()) as running:
            assert not self.served(running, authority.trusting())
            assert not self.served(running, strangers)
            assert self.served(running, authority.client("client.example")[0])

    def test_with_a_revoked_one_are_refused_from_now_on(
        self, authority: Authority, tmp_path: Path
    ) -> None:
        good, _ = authority.client("good.example")
        bad, certificate = authority.client("bad.example")
        revoked = tmp_path / "revoked.pem"
        authority.revoke(revoked)
        tls = authority.asking_for_certificates(revoked=revoked)
        with serving(echo, LIMITS, tls=tls) as running:
            assert self.served(running, good)
            assert self.served(running, bad)
            authority.revoke(revoked, certificate)
            until(lambda: not self.served(running, bad))
            assert self.served(running, good)


class TestFiles:
    def test_must_be_there(self, tmp_path: Path) -> None:
        with pytest.raises(OSError, match="missing"):
            Tls(TlsFiles(tmp_path / "missing.pem", tmp_path / "missing.key"))

    def test_must_belong_together(self, authority: Authority, tmp_path: Path) -> None:
        other = tmp_path / "other.key"
        other.write_bytes(authority.ca.issue_cert("other").private_key_pem.bytes())
        with pytest.raises(ssl.SSLError):
            Tls(TlsFiles(authority.files.certificate, other))


def test_handshakes_do_not_hold_up_a_drain(authority: Authority) -> None:
    with (
        serving(echo, Limits(handshake_time=3600), tls=Tls(authority.files)) as running,
        socket.socket(socket.AF_UNIX) as stuck,
    ):
        stuck.connect(running.path)
        until(lambda: bool(running.server._adopting))
        running.drain(3600)
        stuck.settimeout(20)
        assert stuck.recv(1) == b""


def test_many_handshakes_that_never_end_leave_room(authority: Authority) -> None:
    limits = Limits(connections=5, handshake_time=0.3, header_time=0.4)
    with serving(echo, limits, tls=Tls(authority.files)) as running:
        stuck = [socket.socket(socket.AF_UNIX) for _ in range(20)]
        for client in stuck:
            client.connect(running.path)
        with Wire(running.path, authority.trusting()) as wire:
            wire.send(request())
            assert wire.answer().status == 200
        for client in stuck:
            client.close()
