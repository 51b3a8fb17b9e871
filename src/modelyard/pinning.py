"""How programs of this host trust the server beside them: by its own certificate, and no other.

They read it from the file that the server has it from, so that on this host neither the names in it
nor its authority matter.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

_END = "-----END CERTIFICATE-----"


class Pin:
    """Trusts the server whose certificate is the first in a PEM file, also when that changes.

    Raises:
        OSError: The file cannot be read, or holds no certificate.
    """

    def __init__(self, certificate: Path) -> None:
        self._path = certificate
        self._seen: object = None
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        """What connections begin with."""
        self.context.check_hostname = False
        self.context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        self._read()

    def follow(self, request: Any = None) -> None:
        """Trust what is in the file now as well; called before each request, as a hook of it."""
        del request
        try:
            self._read()
        except OSError:  # half written, or gone: what was trusted is trusted
            return

    def _read(self) -> None:
        facts = self._path.stat()
        seen = (facts.st_ino, facts.st_mtime_ns, facts.st_size)
        if seen != self._seen:
            first, end, _ = self._path.read_text("ascii", "replace").partition(_END)
            if not end:
                raise OSError(f"{self._path} holds no certificate")
            self.context.load_verify_locations(cadata=first + end)
            self._seen = seen
