"""Certificates of callers of a service: the key of one is made here and stays here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import TypeAdapter

from modelyard.client.connection import Connection
from modelyard.client.files import StrPath
from modelyard.domain.clients import ClientCertificate, IssuedCertificate
from modelyard.domain.validation import compose
from modelyard.errors import Conflict, InvalidRequest
from modelyard.schemas import AskCertificate

_CERTIFICATES = TypeAdapter(tuple[ClientCertificate, ...])
_LONGEST_REQUEST = 16 << 10


def issue(
    connection: Connection,
    path: str,
    client: str,
    file: Path,
    request: StrPath | None,
    lifetime: float | str,
) -> ClientCertificate:
    """Write a new certificate into a new file; see `Services.issue_certificate`."""
    with private_file(file) as texts:
        own = make_key() if request is None else None
        signing = own.request if own is not None else read_request(Path(request or ""))
        fields = {"client": client, "request": signing, "lifetime": lifetime}
        body = compose(AskCertificate, fields, "the certificate")
        issued = connection.create("POST", path, body, IssuedCertificate, repeatable=False)
        texts += [*([own.key] if own else ()), issued.pem]
    return ClientCertificate(**issued.model_dump(exclude={"pem"}))


def issued(connection: Connection, path: str) -> tuple[ClientCertificate, ...]:
    """Certificates that were issued to callers of a service, latest first."""
    return _CERTIFICATES.validate_json(connection.request("GET", path).content)


def revoke(connection: Connection, path: str, which: str) -> tuple[ClientCertificate, ...]:
    """Let one be good no more, or all of a caller; see `Services.revoke_certificate`."""
    path = f"{path}/{quote(which, safe='')}/revoke"
    response = connection.request("POST", path, repeatable=True)
    return _CERTIFICATES.validate_json(response.content)


class NewKey(NamedTuple):
    """A private key, and the request for a certificate of it; both PEM."""

    key: str
    request: str


def make_key() -> NewKey:
    """A key of its own for every certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder(x509.Name([])).sign(key, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return NewKey(private.decode(), request.public_bytes(serialization.Encoding.PEM).decode())


def read_request(path: Path) -> str:
    """A certificate signing request from a file.

    Raises:
        InvalidRequest: The file cannot be read, or is none.
    """
    try:
        text = path.read_text("ascii")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not PEM"
        raise InvalidRequest(
            f"cannot read `{path}`: {reason}", hint="give the path of a signing request, as PEM"
        ) from error
    if "PRIVATE KEY" in text or len(text) > _LONGEST_REQUEST:
        raise InvalidRequest(
            f"`{path}` is not a certificate signing request alone, and is not sent",
            hint="give the request; the private key belongs to the caller",
        )
    return text


@contextmanager
def private_file(path: Path) -> Iterator[list[str]]:
    """A new file that only its owner may read, for the texts that are put into the list.

    It is there before anything is asked for, and gone again when that fails.

    Raises:
        Conflict: There is such a file.
        InvalidRequest: It cannot be made.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise Conflict(
            f"there is a file `{path}`, which may be the certificate of somebody",
            hint="name another file, or take that one away",
        ) from None
    except OSError as error:
        raise InvalidRequest(
            f"cannot make `{path}`: {error.strerror}", hint="name a file in a folder of yours"
        ) from error
    texts: list[str] = []
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            yield texts
            file.write("".join(texts))
    except BaseException:
        path.unlink(missing_ok=True)
        raise
