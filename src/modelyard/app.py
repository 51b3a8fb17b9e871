"""Composition root: the only place where concrete classes meet.

`python -m modelyard.app` is the server in the foreground; clients start it in the background.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from modelyard.agent.gatekeeper import Access
from modelyard.agent.gateway.config import Certificate, ClientFiles
from modelyard.agent.local import LocalAgent
from modelyard.api import create_app
from modelyard.api.securing import secured
from modelyard.blobs.base import BlobStore
from modelyard.blobs.local import LocalBlobs
from modelyard.capture.encrypting import public_key
from modelyard.capture.files import CapturedFiles
from modelyard.capture.remote import RemoteFiles, store_at
from modelyard.control.agents import Agents
from modelyard.control.alerts import Alerts
from modelyard.control.authority import Authority
from modelyard.control.background import Background
from modelyard.control.blobs import BlobTransfer
from modelyard.control.captures import Captures
from modelyard.control.certificates import Certificates
from modelyard.control.changes import Changes
from modelyard.control.drift import Drift
from modelyard.control.images import Images
from modelyard.control.judging import judges
from modelyard.control.keys import Keys
from modelyard.control.models import Models
from modelyard.control.moving import Moving
from modelyard.control.operations import Operations
from modelyard.control.outbox import Outbox
from modelyard.control.platform import Platform
from modelyard.control.principals import Principals, new_token
from modelyard.control.profiles import Profiles
from modelyard.control.quality import Qualities
from modelyard.control.reconciler import Reconciler
from modelyard.control.replays import Replays
from modelyard.control.reproductions import Reproductions
from modelyard.control.rewriting import Rewriting
from modelyard.control.sending.base import Sender
from modelyard.control.sending.mail import Mail, read_server
from modelyard.control.sending.program import Program
from modelyard.control.sending.webhook import Webhooks
from modelyard.control.services import Services
from modelyard.control.signing import workspace_key
from modelyard.control.sketching import Sketcher
from modelyard.control.supply_chain import SupplyChain
from modelyard.control.telemetry import Telemetry
from modelyard.control.upkeep import Upkeep
from modelyard.control.watching import Watching
from modelyard.domain.channel import ChannelKind
from modelyard.domain.keys import capture_key, decryption_key
from modelyard.domain.principal import Role
from modelyard.errors import Conflict, InvalidRequest, ModelyardError, Unavailable
from modelyard.files import replace_file
from modelyard.images.builder import ImageBuilder
from modelyard.images.layers import LayerCache
from modelyard.images.signing import TrustedKeys
from modelyard.images.trial import end_abandoned
from modelyard.settings import Settings
from modelyard.store import Database
from modelyard.targets.agent import ContainerTarget, LocalTarget
from modelyard_runtime.http.tls import TlsFiles

WORKSPACE = "default"
AGENT = "local"
AUTHORITY = "authority"
"""Folder of the workspace's own certificate authority, below the home folder."""
_logger = logging.getLogger("modelyard.server")


@dataclass(frozen=True)
class Parts:
    """A composed server: what answers requests, and what works in the background."""

    platform: Platform
    database: Database
    reconciler: Reconciler
    upkeep: Upkeep
    outbox: Outbox
    watching: Watching
    sketcher: Sketcher

    def start(self) -> None:
        """Begin the background work, with what a server before this one left undone."""
        end_abandoned()
        self.platform.images.resume()
        self.platform.background.resume()
        self.reconciler.start()
        self.upkeep.start()
        self.outbox.start()
        self.watching.start()
        self.sketcher.start()

    def close(self) -> None:
        """End the background work."""
        self.sketcher.stop()
        self.watching.stop()
        self.outbox.stop()
        self.upkeep.stop()
        self.reconciler.stop()
        self.platform.images.close()
        self.platform.background.close()
        self.database.close()


def compose(settings: Settings) -> Parts:
    """Put the parts of a server together; creates the home folder, the database and its keys."""
    home = settings.home
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    database = Database(f"sqlite:///{home / 'modelyard.db'}")
    database.migrate()
    principals = _principals(database, home)
    blobs = LocalBlobs(home / "blobs")
    operations = Operations(database)
    background = Background(database, operations)
    authority = _authority(settings)
    issues = authority is not None and settings.gateway_client_authorities is None
    master = _secret(home / "master.key").encode()
    agents = _agents(database, master, issues=issues)
    by_agent = (LocalTarget(agents, AGENT), ContainerTarget(agents, AGENT))
    targets = {target.name: target for target in by_agent}
    trusted = TrustedKeys(home / "trusted")
    key = workspace_key(database, WORKSPACE, home / "signing" / f"{WORKSPACE}.pem", trusted)
    builder = ImageBuilder(blobs, LayerCache(home / "layers"), settings, key)
    pem = authority.certificate.read_text() if authority else None
    of_gateway = pem if settings.gateway_certificate == "own" else None
    of_server = pem if settings.server_certificate == "own" else None
    secure = settings.gateway_certificate is not None
    certificates = Certificates(database, authority if issues else None, secure=secure)
    keys = Keys(database, targets, master)
    services = Services(
        database,
        operations,
        agents,
        targets,
        local_agent=AGENT,
        keys=keys,
        certificates=certificates,
    )
    captures, rewriting, sketcher, scratch = _records(settings, database, master)
    alerts, outbox = _alerting(settings, database, master)
    platform = Platform(
        principals=principals,
        blobs=BlobTransfer(blobs, database, settings.max_upload),
        models=Models(database, blobs),
        supply_chain=SupplyChain(database, blobs, key.public, trusted),
        images=Images(database, blobs, operations, background, builder),
        captures=captures,
        rewriting=rewriting,
        qualities=Qualities(captures, scratch),
        drift=Drift(database, sketcher, scratch),
        profiles=Profiles(database, background, builder),
        replays=Replays(database, background, builder, captures, master, scratch),
        reproductions=Reproductions(database, background, builder, captures),
        moving=Moving(database, blobs, background, builder),
        background=background,
        services=services,
        changes=Changes(database, operations, targets, certificates, master),
        keys=keys,
        certificates=certificates,
        operations=operations,
        agents=agents,
        telemetry=Telemetry(database),
        alerts=alerts,
        local_agent=AGENT,
        authority=of_gateway,
        server_authority=of_server,
    )
    return Parts(
        platform=platform,
        database=database,
        reconciler=Reconciler(database, operations, agents, targets),
        upkeep=_upkeep(settings, database, blobs, authority, rewriting),
        outbox=outbox,
        watching=Watching(database, outbox.wake, judges(platform.drift, platform.qualities)),
        sketcher=sketcher,
    )


def _principals(database: Database, home: Path) -> Principals:
    """Who may ask: the owner and the agent of this host, by tokens in files of their own."""
    principals = Principals(database)
    principals.set_token(WORKSPACE, "owner", Role.OWNER, _secret(home / "token"))
    principals.set_token(WORKSPACE, AGENT, Role.AGENT, _secret(home / "agent" / "token"))
    return principals


def _agents(database: Database, master: bytes, *, issues: bool) -> Agents:
    """What agents are told, from this server on."""
    agents = Agents(
        database,
        capture_key=capture_key(master),
        encryption_key=public_key(decryption_key(master)),
        issues_certificates=issues,
    )
    agents.take_over(WORKSPACE, AGENT)
    return agents


def _records(
    settings: Settings, database: Database, master: bytes
) -> tuple[Captures, Rewriting, Sketcher, Path]:
    """What works on captured records, and the folder for what they keep only for a while."""
    files = _captured_files(settings)
    scratch = settings.home / "captured" / ".answers"
    private = decryption_key(master)
    rewriting = Rewriting(database, files, scratch, capture_key(master), private)
    rewriting.recover(WORKSPACE)
    captures = Captures(database, files, scratch, private)
    return captures, rewriting, Sketcher(database, files, WORKSPACE), scratch


def _upkeep(
    settings: Settings,
    database: Database,
    blobs: BlobStore,
    authority: Authority | None,
    rewriting: Rewriting,
) -> Upkeep:
    """What tidies up."""
    days, most = settings.capture_days, settings.capture_most
    return Upkeep(
        database,
        blobs,
        renew=partial(_renew, authority, settings),
        expire=partial(rewriting.expire, WORKSPACE, days=days, most=most),
        join=partial(rewriting.join, WORKSPACE),
    )


def _alerting(settings: Settings, database: Database, master: bytes) -> tuple[Alerts, Outbox]:
    """Who may be told, and what tells them."""
    hosts = _hosts(settings.alert_allow_private)
    senders = _senders(settings, master, hosts)
    alerts = Alerts(database, senders, master, hosts)
    alerts.ensure_command(WORKSPACE, settings.alert_command)
    return alerts, Outbox(database, senders)


def _hosts(text: str) -> frozenset[str]:
    """Those that webhooks may go to although they are not public."""
    return frozenset(host.strip().lower() for host in text.split(",") if host.strip())


def _senders(settings: Settings, master: bytes, hosts: frozenset[str]) -> dict[ChannelKind, Sender]:
    """How messages of alerts go, as far as there are settings for it.

    Raises:
        InvalidRequest: The settings of the mail server are not complete, or wrong.
    """
    senders: dict[ChannelKind, Sender] = {ChannelKind.WEBHOOK: Webhooks(master, hosts)}
    if settings.alert_command:
        senders[ChannelKind.COMMAND] = Program(settings.alert_command)
    if settings.alert_smtp:
        if not settings.alert_smtp_from:
            raise InvalidRequest(
                "e-mail of alerts needs an address that it is from",
                hint="set MODELYARD_ALERT_SMTP_FROM too",
            )
        server = read_server(settings.alert_smtp)
        password = settings.alert_smtp_password
        senders[ChannelKind.EMAIL] = Mail(server, settings.alert_smtp_from, password)
    return senders


def _captured_files(settings: Settings) -> CapturedFiles:
    """Where captured records are."""
    folder, url = settings.home / "captured", settings.capture_store
    if url is None:
        return CapturedFiles(folder)
    return RemoteFiles(store_at(url), url, folder, settings.capture_copies)


def _secret(path: Path) -> str:
    """The secret in this file; made at first use, readable by its owner only."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        replace_file(path, new_token())  # half a secret would be taken for one for ever
    return path.read_text().strip()


@contextmanager
def _only_server(home: Path) -> Iterator[None]:
    """Hold the lock of the home folder: two servers on one database would undo each other."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (home / "server.lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(
                f"a server is already running for {home}",
                hint="use it, or stop it with `modelyard server stop`",
            ) from None
        yield


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.server_host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.server_host, settings.server_port))
    except OSError as error:
        listener.close()
        raise Unavailable(
            f"the server cannot listen on {settings.server_host}:{settings.server_port}: "
            f"{error.strerror}",
            hint="end what uses the port, or set MODELYARD_SERVER_PORT to another one (0: any)",
        ) from error
    return listener


def _access(settings: Settings) -> Access:
    """How callers come to the gateway of this host.

    Raises:
        InvalidRequest: There is a certificate without its key, or the reverse.
    """
    chain, key = settings.gateway_certificate, settings.gateway_key
    own = Authority(settings.home / AUTHORITY)
    if chain == "own":
        chain, key = own.gateway_certificate, own.gateway_key
    if (chain is None) != (key is None):
        raise InvalidRequest(
            "TLS at the gateway needs both a certificate and its key",
            hint="set MODELYARD_GATEWAY_CERTIFICATE and MODELYARD_GATEWAY_KEY, or neither",
        )
    authorities, revoked = settings.gateway_client_authorities, settings.gateway_revoked
    if (authorities and not chain) or (revoked and not authorities):
        raise InvalidRequest(
            "authorities of clients need TLS at the gateway, and lists of revoked ones need "
            "those authorities",
            hint="set MODELYARD_GATEWAY_CERTIFICATE, MODELYARD_GATEWAY_CLIENT_AUTHORITIES and "
            "MODELYARD_GATEWAY_REVOKED together",
        )
    return Access(
        settings.gateway_host,
        settings.gateway_port,
        settings.gateway_name,
        Certificate(str(chain.absolute()), str(key.absolute())) if chain and key else None,
        settings.gateway_processes,
        _client_files(settings, own) if chain else None,
    )


def _client_files(settings: Settings, own: Authority) -> ClientFiles:
    """By what the gateway knows callers with certificates."""
    if settings.gateway_client_authorities is None:
        return ClientFiles(str(own.certificate.absolute()), str(own.revoked.absolute()))
    revoked = str(settings.gateway_revoked.absolute()) if settings.gateway_revoked else ""
    return ClientFiles(str(settings.gateway_client_authorities.absolute()), revoked)


def _authority(settings: Settings) -> Authority | None:
    """The workspace's own authority, if anything is to be certified by it."""
    of_clients = settings.gateway_certificate and settings.gateway_client_authorities is None
    if not of_clients and not _issues_to_host(settings):
        return None
    authority = Authority(settings.home / AUTHORITY)
    _renew(authority, settings)
    return authority


def _renew(authority: Authority | None, settings: Settings) -> None:
    """See to it that what the authority has signed lasts for a while."""
    if authority is None:
        return
    authority.ensure()
    if _issues_to_host(settings):
        authority.renew(_names(settings))


def _issues_to_host(settings: Settings) -> bool:
    """The gateway or the server has a certificate of the workspace's own authority."""
    return "own" in (settings.gateway_certificate, settings.server_certificate)


def _server_files(settings: Settings) -> TlsFiles | None:
    """What the server speaks TLS with.

    Raises:
        InvalidRequest: There is a certificate without its key, or the reverse.
    """
    chain, key = settings.server_certificate, settings.server_key
    if chain == "own":
        own = Authority(settings.home / AUTHORITY)
        chain, key = own.gateway_certificate, own.gateway_key  # one for everything on this host
    if chain is None and key is None:
        return None
    if chain is None or key is None:
        raise InvalidRequest(
            "TLS at the server needs both a certificate and its key",
            hint="set MODELYARD_SERVER_CERTIFICATE and MODELYARD_SERVER_KEY, or neither",
        )
    return TlsFiles(chain.absolute(), key.absolute())


def _names(settings: Settings) -> tuple[str, ...]:
    """What callers may call the gateway: its name, its address, and this host's own names."""
    hosts = [settings.gateway_host]
    hosts += [settings.server_host] if settings.server_certificate == "own" else []
    addresses = (
        socket.gethostname() if host in ("0.0.0.0", "::") else host  # noqa: S104 - said, not done
        for host in hosts
    )
    names = (settings.gateway_name, *addresses, "localhost", "127.0.0.1", "::1")
    return tuple(dict.fromkeys(name for name in names if name))


def _publish(home: Path, url: str, files: TlsFiles | None) -> None:
    """Tell local clients where the server is, and what they can trust there."""
    certificate = str(files.certificate) if files else None
    text = json.dumps({"url": url, "pid": os.getpid(), "certificate": certificate})
    replace_file(home / "server.json", text, durable=False)


class _Server(uvicorn.Server):
    """Uvicorn, told to end from a route as well as by a signal."""

    def __init__(self, config: uvicorn.Config, platform: Platform) -> None:
        super().__init__(config)
        self._platform = platform
        self.stop_everything = False

    def end(self, everything: bool) -> None:
        """Finish what is running and return from `run`."""
        self.stop_everything = everything
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Turn away who waits for news, then finish what is running."""
        self._platform.close()
        await super().shutdown(sockets)


def serve(settings: Settings) -> None:
    """Run the server until it is told to end.

    Raises:
        Conflict: Another server runs for the same home folder.
        Unavailable: The port is taken.
    """
    with _only_server(settings.home):
        listener = _listen(settings)
        host, port = listener.getsockname()[:2]
        files = _server_files(settings)
        url = f"{'https' if files else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"
        parts = compose(settings)
        context = secured(files) if files else None
        agent = LocalAgent(
            settings.home,
            url,
            _access(settings),
            settings.engine,
            settings.sandbox,
            files.certificate if files else None,
        )

        @asynccontextmanager
        async def lifespan(app: FastAPI) -> AsyncIterator[None]:
            del app
            parts.start()
            watch = threading.Thread(target=agent.keep_running, name="agent-watch", daemon=True)
            watch.start()
            _publish(settings.home, url, files)
            yield
            agent.stop_watching()
            watch.join()
            parts.close()

        server = _Server(
            uvicorn.Config(
                create_app(parts.platform, lambda everything: server.end(everything), lifespan),
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=5,
                h11_max_incomplete_event_size=None,
                ssl_context_factory=(lambda config, default: context) if context else None,
            ),
            parts.platform,
        )
        _logger.info("listening on %s", url)
        server.run(sockets=[listener])
        (settings.home / "server.json").unlink(missing_ok=True)
        if server.stop_everything:
            agent.stop_everything()
        _logger.info("stopped")


def main() -> None:
    """Run the server with settings from the environment."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        serve(Settings())
    except ModelyardError as error:
        sys.exit(f"error: {error.message}\nhint: {error.hint}")
    logging.shutdown()
    os._exit(0)  # a build that still runs is taken up by the next server: do not wait for it


if __name__ == "__main__":
    main()
