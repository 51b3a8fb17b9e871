"""TLS of the server's own address."""

from __future__ import annotations

import ssl
import time

from modelyard.errors import InvalidRequest
from modelyard_runtime.http.tls import Tls, TlsFiles


def secured(files: TlsFiles) -> ssl.SSLContext:
    """What the server begins connections with: each with the files as they are then.

    Raises:
        InvalidRequest: The files are no good.
    """
    try:
        tls = Tls(files)
    except OSError as error:  # an SSLError is one, too
        raise InvalidRequest(
            f"the server cannot use its certificate `{files.certificate}`: {error}",
            hint="give PEM files of one certificate and its key, readable by this user and without "
            "a passphrase",
        ) from error

    def choose(connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        del name, context
        tls.refresh(time.monotonic())
        connection.context = tls.context

    first = tls.context
    first.sni_callback = choose
    return first
