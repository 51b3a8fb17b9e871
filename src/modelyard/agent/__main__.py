"""`python -m modelyard.agent --home <folder> --url <server>`: run the agent of one host.

`stop-all` instead ends the agent of that folder with everything it started. Exit status: 0 after
SIGTERM, which leaves replicas and gateway running; 1 when it cannot begin.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import time
from pathlib import Path

import modelyard
from modelyard.agent.capturing import CaptureShipper
from modelyard.agent.desired import DesiredStore
from modelyard.agent.drivers.by_target import CONTAINERS, PROCESSES, Drivers
from modelyard.agent.drivers.container import agent_id
from modelyard.agent.engine.host import Engines
from modelyard.agent.engine_upkeep import EngineUpkeep
from modelyard.agent.gatekeeper import Access, Gatekeeper
from modelyard.agent.gateway.config import Certificate, ClientFiles
from modelyard.agent.gateway.files import CAPTURED, COUNTERS
from modelyard.agent.gateway.log import RateLimit
from modelyard.agent.home import AgentHome, lock
from modelyard.agent.loop import Loop
from modelyard.agent.provision.engine import EngineImages
from modelyard.agent.provision.fetching import BlobCache
from modelyard.agent.provision.images import ImageProvider, LayerFetcher
from modelyard.agent.shipper import Shipper
from modelyard.agent.shutdown import RunningAgent, stop_everything, stop_gateway
from modelyard.agent.source import ServerSource
from modelyard.agent.telemetry.collector import Collector
from modelyard.agent.telemetry.page import Page, PageServer
from modelyard.agent.threads import CaptureSender, FiguresSender, LogSender, Reporter, Watcher
from modelyard.errors import Conflict, ModelyardError
from modelyard.files import replace_file
from modelyard.images.layers import LayerCache
from modelyard.images.sandbox.choosing import host_sandbox, why_refused
from modelyard.images.signing import TrustedKeys
from modelyard.settings import SandboxMode

log = logging.getLogger("modelyard.agent")


def main() -> int:
    """Run the command; returns its exit status."""
    arguments = _arguments()
    _log_to_stderr()
    try:
        if arguments.command == "stop-all":
            stop_everything(arguments.home, arguments.drain, arguments.engine or None)
        else:
            _run(arguments)
    except ModelyardError as error:
        log.error("%s; hint: %s", error.message, error.hint)
        return 1
    return 0


def _run(arguments: argparse.Namespace) -> None:
    home = AgentHome(arguments.home)
    home.create()
    held = lock(home.lock)
    if held is None:
        raise Conflict(
            f"an agent already runs for {home.folder}", hint="use it, or end it with SIGTERM"
        )
    running = RunningAgent(
        pid=os.getpid(), arguments=tuple(sys.argv[1:]), version=modelyard.__version__
    )
    replace_file(home.status, running.model_dump_json(), durable=False)
    try:
        _serve(home, arguments)
    finally:
        home.status.unlink(missing_ok=True)
        os.close(held)


def _serve(home: AgentHome, arguments: argparse.Namespace) -> None:
    source = ServerSource(
        arguments.url, arguments.agent, home.read_token(), certificate=arguments.certificate
    )
    desired = DesiredStore(home.desired)
    reporter = Reporter(source)
    log_sender = LogSender(Shipper(source))
    captured = CaptureShipper(source, home.captured, home.gateway / CAPTURED, desired)
    capture_sender = CaptureSender(captured)
    engines = Engines(arguments.engine or None)
    drivers = Drivers(home, engines, host_sandbox(arguments.sandbox))
    collector = Collector(home.figures, home.gateway / COUNTERS)
    page = home.sockets() / "figures.s"
    refusal = why_refused(arguments.sandbox)
    unpacked = LayerFetcher(LayerCache(home.layers), home.fetched, source, refusal)
    loaded = EngineImages(agent_id(home), engines, BlobCache(home.blobs, source))
    images = ImageProvider(
        {PROCESSES: unpacked, CONTAINERS: loaded},
        TrustedKeys(home.trusted),
        lambda: loop.wake(),
        time.monotonic,
    )
    loop = Loop(
        desired,
        drivers,
        images,
        Gatekeeper(home.gateway, _access(arguments), time.monotonic, str(page)),
        reporter,
        log_sender,
        collector,
        home.observed,
        capture_sender,
        home.judged,
    )
    conversations = (
        Watcher(source, desired, loop.wake),
        reporter,
        log_sender,
        capture_sender,
        EngineUpkeep(drivers.containers, loaded, desired),
        PageServer(page, Page(collector)),
        FiguresSender(source, collector),
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: loop.end())
    for conversation in conversations:
        conversation.start()
    loop.run()
    for conversation in conversations:
        conversation.close()
    if home.folder.is_dir():
        log.info("ended; replicas and gateway run on")
    else:
        stop_gateway(home, drain=0.0)  # replicas end by themselves, as their folders are gone


def _access(arguments: argparse.Namespace) -> Access:
    chain, key = arguments.gateway_certificate, arguments.gateway_key
    authorities, revoked = arguments.client_authorities, arguments.revoked
    return Access(
        arguments.gateway_host,
        arguments.gateway_port,
        arguments.gateway_name,
        Certificate(chain, key) if chain else None,
        arguments.gateway_processes,
        ClientFiles(authorities, revoked) if authorities else None,
    )


def _log_to_stderr() -> None:
    handler = logging.StreamHandler()
    handler.addFilter(RateLimit(per_second=20))
    form = "%(asctime)s %(levelname)s %(name)s %(message)s"
    logging.basicConfig(level=logging.INFO, format=form, handlers=[handler])
    logging.getLogger("httpx2").setLevel(logging.WARNING)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m modelyard.agent")
    parser.add_argument("command", nargs="?", choices=("run", "stop-all"), default="run")
    parser.add_argument("--home", type=Path, required=True, help="home folder of Modelyard")
    parser.add_argument("--url", default="", help="address of the server")
    parser.add_argument("--certificate", type=Path, help="PEM file: the server's certificate")
    parser.add_argument("--agent", default="local", help="name of this agent at the server")
    parser.add_argument("--gateway-host", default="127.0.0.1", help="address of the gateway")
    parser.add_argument("--gateway-port", type=int, default=0, help="its port; 0: a free one")
    parser.add_argument("--gateway-processes", type=int, default=2, help="how many share it")
    parser.add_argument("--gateway-name", default="", help="host name callers reach it by")
    parser.add_argument("--gateway-certificate", default="", help="PEM file: its certificate")
    parser.add_argument("--gateway-key", default="", help="PEM file: the certificate's key")
    parser.add_argument(
        "--client-authorities", default="", help="PEM file: who issues certificates to clients"
    )
    parser.add_argument("--revoked", default="", help="PEM file: those that are revoked")
    parser.add_argument("--engine", default="", help="address of the container engine")
    parser.add_argument(
        "--sandbox",
        type=SandboxMode,
        choices=list(SandboxMode),
        default=SandboxMode.AUTO,
        help="what is done about a host without a sandbox",
    )
    parser.add_argument("--drain", type=float, default=10.0, help="seconds for requests in flight")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
