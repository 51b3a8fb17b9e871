"""Certificates of gateways in tests."""

from __future__ import annotations

import ssl
from pathlib import Path

import trustme

from modelyard.agent.gateway.config import Certificate

HOST = "127.0.0.1"


class Files:
    """PEM files of a gateway, issued by an authority of the test."""

    def __init__(self, folder: Path) -> None:
        self.authority = trustme.CA()
        self.chain, self.key = folder / "gateway.pem", folder / "gateway.key"
        self.issue()

    @property
    def certificate(self) -> Certificate:
        return Certificate(str(self.chain), str(self.key))

    def issue(self) -> None:
        issued = self.authority.issue_cert(HOST)
        issued.private_key_pem.write_to_path(str(self.key))
        for number, part in enumerate(issued.cert_chain_pems):
            part.write_to_path(str(self.chain), append=bool(number))

    def trusting(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        return context
