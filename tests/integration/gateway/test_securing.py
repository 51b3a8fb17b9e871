"""TLS at a gateway: certificates that come, change, and are no good; each gateway is a process."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from tests.integration.gateway.certificates import Files
from tests.integration.gateway.kit import BEARER, Stage, route
from tests.integration.gateway.process import GatewayProcess

from modelyard.agent.gateway.config import Certificate, GatewayConfig, write_config
from modelyard.domain.cause import Cause

pytestmark = pytest.mark.anyio


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture
def folder(stage: Stage) -> Path:
    return stage.folder


@pytest.fixture
def gateway(folder: Path) -> Iterator[GatewayProcess]:
    with GatewayProcess(folder) as process:
        yield process


async def ask(url: str, context: ssl.SSLContext | None, path: str = "/livez") -> bytes:
    """What one request on a connection of its own is answered with; nothing if that is cut."""
    host, port = url.partition("://")[2].rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host, int(port), ssl=context)
    key = BEARER["authorization"]
    writer.write(
        f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: {key}\r\n"
        "content-length: 2\r\nconnection: close\r\n\r\nhi".encode()
    )
    answer = await reader.read()
    writer.close()
    return answer


async def test_a_service_is_asked_by_tls_alone(
    stage: Stage, gateway: GatewayProcess, files: Files
) -> None:
    service = route(await stage.replica("a"))
    gateway.configure(service, certificate=files.certificate)
    url = gateway.url()
    assert url.startswith("https://")
    answer = await ask(url, files.trusting(), "/services/digits/score")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"hi")
    assert not (await ask(url, None, "/services/digits/score")).startswith(b"HTTP/1.1 200")
    with pytest.raises(ssl.SSLCertVerificationError):
        await ask(url, ssl.create_default_context())


async def test_tls_is_switched_on_and_off_while_a_connection_lives(
    stage: Stage, gateway: GatewayProcess, files: Files
) -> None:
    service = route(await stage.replica("a"))
    gateway.configure(service)
    client = gateway.client()
    assert (await client.request("/services/digits/score", b"1")).status == 200
    gateway.configure(service, certificate=files.certificate)
    assert (await client.request("/services/digits/score", b"2")).status == 200
    assert (await ask(gateway.url(), files.trusting())).startswith(b"HTTP/1.1 ")
    gateway.configure(service)
    assert gateway.url().startswith("http://")
    assert (await ask(gateway.url(), None)).startswith(b"HTTP/1.1 ")
    client.close()


async def test_a_renewed_certificate_is_taken_without_a_restart(
    stage: Stage, gateway: GatewayProcess, files: Files
) -> None:
    gateway.configure(route(await stage.replica("a")), certificate=files.certificate)
    before = await _serial(gateway.url(), files)
    files.issue()
    while await _serial(gateway.url(), files) == before:
        await asyncio.sleep(0.05)


async def test_a_gateway_does_not_listen_without_its_first_certificate(
    folder: Path, files: Files
) -> None:
    key = files.key.read_bytes()
    files.key.unlink()
    write_config(folder / "config.json", GatewayConfig(1, (), files.certificate))
    with GatewayProcess(folder) as gateway:
        status = gateway.wait_for(lambda status: status.cause is not None)
        cause = Cause.model_validate(status.cause)
        assert cause.code == "certificate_unusable"
        assert str(files.key) in cause.message
        assert status.url is None
        files.key.write_bytes(key)
        assert gateway.url().startswith("https://")
        assert gateway.wait_for(lambda status: status.cause is None)


async def test_a_certificate_that_is_no_good_leaves_the_one_before(
    stage: Stage, gateway: GatewayProcess, files: Files, tmp_path: Path
) -> None:
    service = route(await stage.replica("a"))
    gateway.configure(service, certificate=files.certificate)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    wrong = Certificate(str(files.chain), str(Files(elsewhere).key))
    write_config(gateway.folder / "config.json", GatewayConfig(7, (service,), wrong))
    status = gateway.wait_for(lambda status: status.config_error is not None)
    assert "does not belong to the certificate" in str(status.config_error)
    assert Cause.model_validate(status.cause).code == "certificate_unusable"
    answer = await ask(gateway.url(), files.trusting(), "/services/digits/score")
    assert answer.startswith(b"HTTP/1.1 200 ")


async def test_a_key_with_a_passphrase_is_refused_and_asked_for_nowhere(
    folder: Path, files: Files
) -> None:
    files.key.write_bytes(_locked(files.key.read_bytes()))
    write_config(folder / "config.json", GatewayConfig(1, (), files.certificate))
    with GatewayProcess(folder) as gateway:
        status = gateway.wait_for(lambda status: status.cause is not None)
        assert "passphrase" in Cause.model_validate(status.cause).message


async def _serial(url: str, files: Files) -> str:
    host, port = url.removeprefix("https://").rsplit(":", 1)
    _, writer = await asyncio.open_connection(host, int(port), ssl=files.trusting())
    serial: str = writer.get_extra_info("peercert")["serialNumber"]
    writer.close()
    return serial


def _locked(key: bytes) -> bytes:
    return serialization.load_pem_private_key(key, None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
