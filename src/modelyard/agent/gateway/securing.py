"""The certificate of a gateway: loaded for the server core, and what to say when it is no good."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

from modelyard.agent.gateway.config import Certificate, ClientFiles
from modelyard_runtime.http.tls import Tls, TlsFiles


class Unusable(Exception):
    """A certificate cannot be used; the message says why."""


def load_tls(certificate: Certificate, clients: ClientFiles | None) -> Tls:
    """What the server core speaks TLS with; it takes the files anew when they change.

    With `clients`, callers are asked for certificates, which they need not have. Whether one is
    revoked is asked with every request, where the answer can say so.

    Raises:
        Unusable: A file cannot be read or is not PEM, or the key is another certificate's.
    """
    try:
        return Tls(
            TlsFiles(
                Path(certificate.chain),
                Path(certificate.key),
                Path(clients.authorities) if clients else None,
                client_optional=True,
            )
        )
    except OSError as error:  # an SSLError is one, too
        raise Unusable(_reason(error)) from error


def unusable(certificate: Certificate, error: Unusable) -> dict[str, Any]:
    """Why a gateway does not listen, as a `modelyard.domain.cause.Cause`."""
    return {
        "code": "certificate_unusable",
        "message": f"the gateway cannot use its certificate: {error}",
        "evidence": [f"certificate: {certificate.chain}", f"key: {certificate.key}"],
        "fix": "put PEM files of one certificate and its key there, readable by this user and "
        "without a passphrase: the gateway looks for them every second",
    }


def _reason(error: OSError) -> str:
    if not isinstance(error, ssl.SSLError):
        return f"{error.filename}: {error.strerror}" if error.filename else str(error)
    if error.reason == "KEY_VALUES_MISMATCH":
        return "the key does not belong to the certificate"
    return "a file does not hold what it should, or the key has a passphrase"
