"""The server's side of the agent on its own host: keeps it running, ends it with everything.

Used by the composition root only. The agent itself knows nothing of this.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import modelyard
from modelyard.agent.detached import start_detached
from modelyard.agent.gatekeeper import Access
from modelyard.agent.home import AgentHome, is_locked
from modelyard.agent.shutdown import AGENT, running_agent, stop_agent, stop_everything
from modelyard.errors import ModelyardError
from modelyard.settings import SandboxMode

log = logging.getLogger(__name__)

_CLOUDS = ("AWS_", "AZURE_", "GOOGLE_")
_LOOK = 1.0  # seconds between two looks
_GRACE = 5.0  # seconds for an agent to end by itself


class LocalAgent:
    """The agent of one home folder.

    Args:
        home: The home folder of the server.
        url: Address of the server.
        access: How callers come to its gateway.
        engine: Address of the container engine; None has it looked for.
        sandbox: What is done about a host without a sandbox.
        certificate: PEM file with the server's certificate; None: it speaks plain HTTP.
    """

    def __init__(
        self,
        home: Path,
        url: str,
        access: Access,
        engine: str | None = None,
        sandbox: SandboxMode = SandboxMode.AUTO,
        certificate: Path | None = None,
    ) -> None:
        self._home = AgentHome(home)
        self._folder = home
        self._engine = engine
        named = ("--engine", engine) if engine else ()
        self._arguments = ("--home", str(home.absolute()), "--url", url, *_options(access), *named)
        self._arguments += ("--sandbox", sandbox)
        self._arguments += ("--certificate", str(certificate)) if certificate else ()
        self._child: subprocess.Popen[bytes] | None = None
        self._ending = threading.Event()

    def keep_running(self) -> None:
        """Start the agent whenever there is none, until `stop_watching`; blocks."""
        while not self._ending.is_set():
            try:
                self._ensure()
            except (ModelyardError, OSError):
                log.exception("the agent cannot be started; trying again")
            self._ending.wait(_LOOK)

    def stop_watching(self) -> None:
        """Have `keep_running` return; the agent runs on."""
        self._ending.set()

    def stop_everything(self) -> None:
        """End the agent, its gateway and all replicas, with time for requests in flight."""
        if self._child is not None and self._child.poll() is None:
            # It may not have its lock yet, by which it would be found, and start things later.
            self._child.terminate()
            try:
                self._child.wait(_GRACE)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()
        stop_everything(self._folder, engine=self._engine)

    def _ensure(self) -> None:
        if self._child is not None and self._child.poll() is None:
            return
        if is_locked(self._home.lock):
            agent = running_agent(self._home)
            wanted = (self._arguments, modelyard.__version__)
            if agent is None or (agent.arguments, agent.version) == wanted:
                return
            log.info("the agent has another server, version or setting: replacing it")
            stop_agent(self._home)
        self._start()

    def _start(self) -> None:
        self._home.create()
        # `-P` keeps the current folder off its import path.
        command = [sys.executable, "-P", "-m", AGENT, *self._arguments]
        folder = self._home.folder
        self._child = start_detached(command, folder, folder / "agent.log", env=_environment())


def _environment() -> dict[str, str]:
    """The server's, without what only it needs: the store of captured records is its business."""
    return {name: text for name, text in os.environ.items() if not name.startswith(_CLOUDS)}


def _options(access: Access) -> Iterator[str]:
    yield from ("--gateway-host", access.host, "--gateway-port", str(access.port))
    yield from ("--gateway-processes", str(access.processes))
    if access.name:
        yield from ("--gateway-name", access.name)
    if access.certificate is not None:
        chain, key = access.certificate.chain, access.certificate.key
        yield from ("--gateway-certificate", chain, "--gateway-key", key)
    if access.clients is not None:
        yield from ("--client-authorities", access.clients.authorities)
        yield from ("--revoked", access.clients.revoked)
