"""The client that commands work with."""

from __future__ import annotations

from modelyard.cli import output
from modelyard.client import Client, connect
from modelyard.client.client import read_environment
from modelyard.client.local import LocalServer
from modelyard.errors import InvalidRequest


def client() -> Client:
    """Connect as the environment says; say so when a server must be started for it."""
    environment = read_environment()
    if environment.url is not None:
        return connect()
    local = LocalServer(environment.home, environment.wheels)
    address = local.find()
    if address is None:
        output.say(f"starting the local server in {local.home}")
        address = local.ensure_running()
    return Client(address, local=local)


def local_server() -> LocalServer:
    """The server of this machine.

    Raises:
        InvalidRequest: The environment names a server elsewhere.
    """
    environment = read_environment()
    if environment.url is not None:
        raise InvalidRequest(
            f"MODELYARD_URL names the server {environment.url}, and this is about the local one",
            hint="unset MODELYARD_URL to start or stop the local server",
        )
    return LocalServer(environment.home, environment.wheels)
