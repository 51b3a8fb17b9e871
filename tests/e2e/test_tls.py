"""A product whose gateway speaks TLS: deployed, scored and renewed under load."""

from __future__ import annotations

import shutil
import ssl
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
import trustme
from cryptography import x509
from tests.e2e.conftest import ROOT, build_breakable
from tests.e2e.test_services import scores_until

import modelyard
from modelyard.control.authority import Authority


class Machine:
    """A home whose gateway has a certificate for `localhost`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = trustme.CA()
        self.trusted = folder / "authority.pem"
        self.authority.cert_pem.write_to_path(str(self.trusted))
        self.issue()

    def issue(self) -> None:
        issued = self.authority.issue_cert("localhost")
        issued.private_key_pem.write_to_path(str(self.folder / "gateway.key"))
        issued.cert_chain_pems[0].write_to_path(str(self.folder / "gateway.pem"))

    def variables(self) -> dict[str, str]:
        return {
            "HOME": str(self.folder),
            "MODELYARD_HOME": str(self.folder / "home"),
            "MODELYARD_SERVER_PORT": "0",
            "MODELYARD_GATEWAY_PORT": "0",
            "MODELYARD_GATEWAY_NAME": "localhost",
            "MODELYARD_GATEWAY_CERTIFICATE": str(self.folder / "gateway.pem"),
            "MODELYARD_GATEWAY_KEY": str(self.folder / "gateway.key"),
            "MODELYARD_WHEELS": str(ROOT / ".wheelhouse"),
            "SSL_CERT_FILE": str(self.trusted),
        }


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    folder = Path(tempfile.mkdtemp(prefix="my-"))
    machine = Machine(folder)
    for name, value in machine.variables().items():
        monkeypatch.setenv(name, value)
    yield machine
    with modelyard.connect() as client:
        client.stop_server(everything=True)
    shutil.rmtree(folder, ignore_errors=True)


def test_a_service_is_scored_by_tls_of_the_workspaces_own_authority(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(tempfile.mkdtemp(prefix="my-"))
    for name, value in (Machine(folder).variables() | _OWN).items():
        monkeypatch.setenv(name, value)
    for name in ("MODELYARD_GATEWAY_KEY", "SSL_CERT_FILE"):
        monkeypatch.delenv(name)
    with modelyard.connect() as yard:
        try:
            service = yard.services.deploy("own", build_breakable(yard, tmp_path, "yes").reference)
            assert str(service.scoring_uri).startswith("https://127.0.0.1:")
            assert yard.services.score("own", {})["answer"] == "yes"
            authority = yard.info().authority
            assert authority is not None
            assert yard.services.why("own") is None
            _ask_the_server(yard, folder, monkeypatch)
            _ask_by_certificate(yard, folder / "billing.pem")
        finally:
            yard.stop_server(everything=True)
    assert oct((folder / "home" / "authority" / "authority.key").stat().st_mode)[-3:] == "600"
    shutil.rmtree(folder, ignore_errors=True)


def _ask_the_server(yard: modelyard.Client, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of TLS, by those who may know its certificate and by others, and when that is renewed."""
    assert yard.url.startswith("https://127.0.0.1:")
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(f"{yard.url}/livez", trust_env=False)
    with pytest.raises(httpx2.TransportError):
        httpx2.get(f"{yard.url}/livez".replace("https:", "http:"), trust_env=False)
    with monkeypatch.context() as elsewhere:
        authority = folder / "authority.pem"
        authority.write_text(str(yard.info().server_authority))
        elsewhere.setenv("SSL_CERT_FILE", str(authority))
        token = (folder / "home" / "token").read_text().strip()
        with modelyard.connect(yard.url, token) as other:
            assert other.info().version
    assert Authority(folder / "home" / "authority").renew(("127.0.0.1", "renewed.example"))
    deadline = time.monotonic() + 60
    while "renewed.example" not in _names_of(yard.url):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    with modelyard.connect() as fresh:
        fresh.services.scale("own", 2)  # which its agent hears of
        assert yard.services.get("own").settings.replicas == 2


def _names_of(url: str) -> str:
    host, port = url.removeprefix("https://").rsplit(":", 1)
    pem = ssl.get_server_certificate((host, int(port)))
    names = x509.load_pem_x509_certificate(pem.encode()).extensions
    return str(names.get_extension_for_class(x509.SubjectAlternativeName).value)


def _ask_by_certificate(yard: modelyard.Client, file: Path) -> None:
    """Change the way in, and be let in and out."""
    yard.services.update("own", auth="cert")
    issued = yard.services.issue_certificate("own", "billing", file, lifetime="1h")
    assert file.stat().st_mode & 0o777 == 0o600
    with pytest.raises(modelyard.InvalidRequest, match="needs a client certificate"):
        yard.services.score("own", {})
    assert yard.services.score("own", {}, certificate=file)["answer"] == "yes"
    assert yard.services.certificates("own") == (issued,)
    revoked = yard.services.revoke_certificate("own", "billing")
    assert [one.serial for one in revoked] == [issued.serial]
    with pytest.raises(modelyard.ScoringFailed, match="has been revoked"):
        _score_on(yard, file)


def _score_on(yard: modelyard.Client, file: Path) -> None:
    for _ in range(400):
        yard.services.score("own", {}, certificate=file)
        time.sleep(0.05)


_OWN = {
    "MODELYARD_SERVER_CERTIFICATE": "own",
    "MODELYARD_GATEWAY_CERTIFICATE": "own",
    "MODELYARD_GATEWAY_NAME": "",
}


def test_a_service_is_scored_by_tls_while_its_certificate_is_renewed(
    machine: Machine, tmp_path: Path
) -> None:
    with modelyard.connect() as yard:
        service = yard.services.deploy("safe", build_breakable(yard, tmp_path, "yes").reference)
        assert service.scoring_uri is not None
        assert service.scoring_uri.startswith("https://localhost:")
        stop = threading.Event()
        results: list[tuple[list[object], list[Exception]]] = []
        load = threading.Thread(target=lambda: results.append(scores_until(stop, yard, "safe")))
        load.start()
        for _ in range(3):
            machine.issue()
            stop.wait(1.5)
        stop.set()
        load.join()
    answers, failures = results[0]
    assert not failures
    assert set(answers) == {"yes"}
