"""Trust in one certificate, the one in a file."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
import trustme
from tests.integration.runtime.server import echo, serving

from modelyard.files import replace_file
from modelyard.pinning import Pin
from modelyard_runtime.http.server import Limits, Tls
from modelyard_runtime.http.tls import TlsFiles


class Files:
    """PEM files of a server: its certificate, and the one above it."""

    def __init__(self, folder: Path) -> None:
        self.authority = trustme.CA()
        self.chain, self.key = folder / "server.pem", folder / "server.key"
        self.issue()

    def issue(self, authority: trustme.CA | None = None) -> None:
        above = authority or self.authority
        issued = above.issue_cert("elsewhere.example")
        chain = [blob.bytes() for blob in issued.cert_chain_pems]
        replace_file(self.key, issued.private_key_pem.bytes())
        replace_file(self.chain, b"".join([*chain, above.cert_pem.bytes()]))


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture
def url(files: Files) -> Iterator[str]:
    tls = Tls(TlsFiles(files.chain, files.key))
    with serving(echo, Limits(header_time=0.4), tls=tls, tcp=True) as running:
        yield f"https://127.0.0.1:{running.listener.getsockname()[1]}/"


def ask(pin: Pin, url: str) -> int:
    hooks = {"request": [pin.follow]}
    with httpx2.Client(verify=pin.context, event_hooks=hooks, trust_env=False) as client:
        return client.get(url).status_code


def test_whatever_name_it_has(files: Files, url: str) -> None:
    assert ask(Pin(files.chain), url) == 200


def test_another_certificate_of_the_same_authority_is_not_trusted(
    files: Files, url: str, tmp_path: Path
) -> None:
    other = tmp_path / "other.pem"
    replace_file(other, files.chain.read_bytes())
    pin = Pin(other)  # which is the one before, in a file of its own
    files.issue()
    deadline = threading.Event()
    for _ in range(200):
        try:
            ask(pin, url)
        except httpx2.ConnectError as error:
            assert "CERTIFICATE_VERIFY_FAILED" in str(error)  # noqa: PT017 - any other is a fault
            break
        deadline.wait(0.05)
    else:
        pytest.fail("the server goes on with its old certificate")
    replace_file(other, files.chain.read_bytes())
    assert ask(pin, url) == 200


def test_a_file_that_is_half_written_changes_nothing(files: Files, url: str) -> None:
    pin = Pin(files.chain)
    whole = files.chain.read_bytes()
    replace_file(files.chain, whole[:200])
    assert ask(pin, url) == 200
    files.chain.unlink()
    assert ask(pin, url) == 200


@pytest.mark.parametrize("content", [b"", b"nothing", b"\xff"])
def test_there_must_be_a_certificate(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "server.pem"
    path.write_bytes(content)
    with pytest.raises(OSError, match="holds no certificate"):
        Pin(path)
    with pytest.raises(OSError, match="No such file"):
        Pin(tmp_path / "missing.pem")
