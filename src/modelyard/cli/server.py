"""`modelyard server …`: the server of this machine."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from modelyard.agent.shutdown import stop_everything
from modelyard.cli import output, parameters, session
from modelyard.client import Client
from modelyard.client.connection import Address
from modelyard.errors import NotFound

app = parameters.commands()


@app.command()
def start(
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Run here, until Ctrl-C, instead of detached.")
    ] = False,
    form: output.Output = output.Format.TABLE,
) -> None:
    """Start the local server, unless it runs already."""
    local = session.local_server()
    if foreground:
        command = local.command()
        os.execve(command[0], command, local.environment())  # noqa: S606 - replaces this program
    address = local.find()
    started = address is None
    address = address or local.ensure_running()
    output.say("started the server" if started else "the server runs already")
    if form is output.Format.JSON:
        output.data_json({"url": address.url, "home": str(local.home), "started": started})
    else:
        output.data(address.url)


@app.command()
def stop(
    everything: Annotated[
        bool, typer.Option("--all", help="End the agent, the gateway and every replica too.")
    ] = False,
    form: output.Output = output.Format.TABLE,
) -> None:
    """Stop the local server. Without --all, services go on answering."""
    local = session.local_server()
    address = local.find()
    if address is not None:
        with Client(address, local=local) as yard:
            yard.stop_server(everything=everything)
    elif everything:
        stop_everything(local.home)
    stopped = everything or address is not None
    output.say(_stopped(everything) if stopped else "the server does not run")
    if form is output.Format.JSON:
        output.data_json({"stopped": stopped, "everything": everything})


@app.command()
def status(form: output.Output = output.Format.TABLE) -> None:
    """Show whether the local server runs; exits with 1 when it does not."""
    local = session.local_server()
    address = local.find()
    facts: dict[str, output.Cell] = {"state": "stopped", "home": str(local.home)}
    if address is not None:
        facts |= {"state": "running", **_facts(address)}
        running = local.running()
        facts["pid"] = running.pid if running else None
    if form is output.Format.JSON:
        output.data_json(facts)
    else:
        output.fields(facts.items())
    if address is None:
        raise typer.Exit(1)


@app.command()
def authority(form: output.Output = output.Format.TABLE) -> None:
    """Print the certificate of the workspace's own authority, as PEM.

    Callers elsewhere trust it, where the certificate of the gateway or the server is `own`.
    """
    with session.client() as yard:
        info = yard.info()
    pem = info.authority or info.server_authority
    if pem is None:
        raise NotFound(
            "no certificate of this host is from an authority of the workspace",
            hint="start the server with MODELYARD_GATEWAY_CERTIFICATE=own, or "
            "MODELYARD_SERVER_CERTIFICATE=own",
        )
    if form is output.Format.JSON:
        output.data_json({"authority": pem})
    else:
        output.data(pem.rstrip())


def _facts(address: Address) -> dict[str, output.Cell]:
    with Client(address) as yard:
        info = yard.info()
    return {
        "url": address.url,
        "version": info.version,
        "workspace": info.workspace,
        "gateway": info.gateway,
    }


def _stopped(everything: bool) -> str:
    return "stopped everything" if everything else "stopped the server; services go on answering"
