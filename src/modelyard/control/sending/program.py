"""A command on the server's host, which its settings name: nobody can name one from outside."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress

from modelyard.control.sending.base import PATIENCE, NotSent
from modelyard.domain.alert import AlertMessage
from modelyard.store.alerts import Route


class Program:
    """Starts a program for each message, which reads it as JSON from its standard input.

    Args:
        command: The program and its arguments; no shell reads them.
        patience: Seconds that it may take; then it is ended, with what it has started.
    """

    def __init__(self, command: Sequence[str], patience: float = PATIENCE) -> None:
        self._command = tuple(command)
        self._patience = patience

    def send(self, route: Route, message: AlertMessage) -> None:
        """Run it; exit status 0 means that the message has arrived."""
        del route
        # What it writes goes nowhere: a pipe that nobody reads would stop it.
        try:
            process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={k: v for k, v in os.environ.items() if not k.startswith("MODELYARD_")},
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            raise NotSent(f"the command cannot be started: {error.strerror}") from None
        try:
            process.communicate(message.model_dump_json().encode(), self._patience)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise NotSent(f"the command did not end in {self._patience:g} seconds") from None
        if process.returncode:
            raise NotSent(f"the command ended with exit status {process.returncode}")
