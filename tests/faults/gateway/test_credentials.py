"""Keys and certificates that are replaced under load, and a scanner that looks for weak ones."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.faults.runtime.siege import GoodClient, TcpWire
from tests.integration.gateway.kit import KEY, ROUTE, SECOND, Stage
from tests.integration.gateway.process import GatewayProcess
from tests.integration.runtime.replica import replica
from tests.integration.runtime.wire import PATIENCE, Wire, request
from tests.programs import program

from modelyard.agent.gateway.config import Certificate, Key, ServiceRoute, Upstream
from modelyard.control.authority import Authority
from modelyard.domain.keys import ServiceKey, make_key

HOST = "127.0.0.1"
MODERN = {("tls", "1.2"), ("tls", "1.3")}


class TlsWire(TcpWire):
    def __init__(self, port: int, trust: ssl.SSLContext) -> None:
        super().__init__(HOST, port)
        self._socket = trust.wrap_socket(self._socket, server_hostname=HOST)

    @property
    def serial(self) -> str:
        assert isinstance(self._socket, ssl.SSLSocket)
        return str((self._socket.getpeercert() or {})["serialNumber"])


@pytest.fixture(scope="module")
def service() -> Iterator[ServiceRoute]:
    with replica("def run(data: list):\n    return data") as served:
        yield replace(ROUTE, upstreams=(Upstream(served.socket, "d", 100, "r"),))


@pytest.fixture
def gateway() -> Iterator[GatewayProcess]:
    stage = Stage()
    with GatewayProcess(stage.folder) as gateway:
        yield gateway
    shutil.rmtree(stage.folder)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    authority = Authority(tmp_path / "authority")
    authority.renew([HOST])
    return authority


def certificate(authority: Authority) -> Certificate:
    return Certificate(str(authority.gateway_certificate), str(authority.gateway_key))


def port(gateway: GatewayProcess) -> int:
    return int(gateway.url().rsplit(":", 1)[1])


def question(key: ServiceKey) -> bytes:
    headers = {"authorization": f"Bearer {key.text}"}
    return request("POST", "/services/digits/score", b'["good"]', headers)


def status(wire: Wire, key: ServiceKey) -> int:
    wire.send(question(key))
    return wire.answer().status


def test_a_key_is_replaced_without_a_failed_request_and_the_old_one_is_dead(
    gateway: GatewayProcess, service: ServiceRoute
) -> None:
    gateway.configure(service)
    where = HOST, port(gateway)
    old = KEY
    with (
        GoodClient(lambda: TcpWire(*where), question(SECOND), b'["good"]'),
        TcpWire(*where) as wire,
    ):
        for number in range(5):
            assert status(wire, old) == 200
            new = make_key(b"m" * 32, f"{number:016x}")
            keys = Key(new.id, "primary", new.hash), Key(SECOND.id, "secondary", SECOND.hash)
            gateway.configure(replace(service, keys=keys))
            assert status(wire, old) == 401
            assert status(wire, new) == 200
            old = new


def test_a_certificate_is_replaced_without_a_failed_request(
    gateway: GatewayProcess, service: ServiceRoute, authority: Authority
) -> None:
    gateway.configure(service, certificate=certificate(authority))
    where = port(gateway)
    trust = ssl.create_default_context(cafile=str(authority.certificate))
    with GoodClient(lambda: TlsWire(where, trust), question(KEY), b'["good"]') as good:
        for _ in range(3):
            before = serial(where, trust)
            authority.gateway_certificate.unlink()
            authority.renew([HOST])
            deadline = time.monotonic() + PATIENCE
            while serial(where, trust) == before:
                assert time.monotonic() < deadline, gateway.log
                time.sleep(0.05)
            good.wait_for_another()


def serial(port: int, trust: ssl.SSLContext) -> str:
    with TlsWire(port, trust) as wire:
        return wire.serial


def test_a_scanner_finds_no_old_protocol_and_no_weak_cipher(
    gateway: GatewayProcess, service: ServiceRoute, authority: Authority
) -> None:
    gateway.configure(service, certificate=certificate(authority))
    command = [program("sslscan"), "--xml=-", f"{HOST}:{port(gateway)}"]
    done = subprocess.run(command, check=True, capture_output=True, timeout=6 * PATIENCE)
    found = ElementTree.fromstring(done.stdout)
    protocols = {
        (one.get("type"), one.get("version"))
        for one in found.iter("protocol")
        if one.get("enabled") == "1"
    }
    assert protocols == MODERN
    ciphers = list(found.iter("cipher"))
    assert ciphers
    assert {one.get("strength") for one in ciphers} <= {"strong", "acceptable"}
    assert all("GCM" in name or "CHACHA20" in name for name in map(cipher_name, ciphers))
    assert [one.get("vulnerable") for one in found.iter("heartbleed")] == ["0", "0"]
    assert {one.get("supported") for one in found.iter("compression")} <= {"0", None}


def cipher_name(found: ElementTree.Element) -> str:
    return str(found.get("cipher"))
