"""What `sslscan` and `testssl.sh` say of the gateway with a certificate of the workspace's own."""

from __future__ import annotations

import json
import subprocess
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench._race import figure, free_port, running, wait_for
from bench.gateway.debian import program
from bench.gateway.fronts import echoes, gateway_command, route
from bench.runtime.environments import Unavailable
from bench.runtime.measure import say
from modelyard.agent.gateway.config import Certificate, GatewayConfig, write_config
from modelyard.control.authority import Authority

_LIMIT = 600
"""Seconds for a scan."""
_ABOVE_LOW = ("MEDIUM", "HIGH", "CRITICAL", "FATAL")
_OF_NO_SERVER = {"cert_revocation"}
"""Findings about what a private authority does not have: a public place for its revocations."""
_CHECKS = ("-p", "-s", "-f", "-P", "-S", "-U")
"""Protocols, kinds of ciphers, forward secrecy, preferences, certificate, known weaknesses."""


def run() -> Iterator[dict[str, Any]]:
    """The figures."""
    with tempfile.TemporaryDirectory(prefix="my-") as name, echoes(0) as replicas:
        folder = Path(name)
        authority = Authority(folder)
        authority.renew(["127.0.0.1"])
        files = str(authority.gateway_certificate), str(authority.gateway_key)
        config = GatewayConfig(1, (route(replicas),), Certificate(*files))
        write_config(folder / "config.json", config)
        port = free_port()
        with running(gateway_command(folder, port)):
            wait_for(port)
            for scan in (_sslscan, _testssl):
                try:
                    yield from scan(port, authority.certificate)
                except Unavailable as error:
                    say(f"{scan.__name__.strip('_')} {error}")


def _sslscan(port: int, authority: Path) -> Iterator[dict[str, Any]]:
    command = [program("sslscan"), "--xml=-", f"127.0.0.1:{port}"]
    done = subprocess.run(command, check=True, capture_output=True, timeout=_LIMIT)
    found = ElementTree.fromstring(done.stdout)
    old = [
        one
        for one in found.iter("protocol")
        if one.get("enabled") == "1"
        and (one.get("type"), one.get("version")) not in {("tls", "1.2"), ("tls", "1.3")}
    ]
    ciphers = list(found.iter("cipher"))
    weak = [one for one in ciphers if one.get("strength") not in ("strong", "acceptable")]
    yield figure("sslscan: protocols before TLS 1.2", len(old), "", "<= 0")
    yield figure("sslscan: ciphers", len(ciphers), "", ">= 1")
    yield figure("sslscan: weak ciphers", len(weak), "", "<= 0")


def _testssl(port: int, authority: Path) -> Iterator[dict[str, Any]]:
    out = authority.parent / "testssl.json"
    quiet = ("--quiet", "--color", "0", "--warnings", "batch", "--jsonfile", str(out))
    where = ("--add-ca", str(authority), f"127.0.0.1:{port}")
    command = [program("testssl", "testssl.sh"), *quiet, *_CHECKS, *where]
    subprocess.run(command, capture_output=True, check=False, timeout=_LIMIT)
    found = json.loads(out.read_bytes())
    if not any(one["id"] == "TLS1_3" for one in found):
        raise Unavailable("did not reach the gateway")
    bad = [one for one in found if one["severity"] in _ABOVE_LOW and one["id"] not in _OF_NO_SERVER]
    for one in bad:
        say(f"testssl: {one['severity']} {one['id']}: {one['finding']}")
    yield figure("testssl: findings", len(found), "", ">= 1")
    yield figure("testssl: findings above low", len(bad), "", "<= 0")
