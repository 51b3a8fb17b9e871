"""The way in: `connect`, and the client it gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, Unpack

import httpx2
from pydantic import JsonValue, ValidationError

from modelyard.client.alerts import Alerts
from modelyard.client.captures import Captures
from modelyard.client.connection import Address, Connection
from modelyard.client.deployment import Deployed, Deployer, Listener, Step, describe
from modelyard.client.files import StrPath
from modelyard.client.images import Images, Requirements
from modelyard.client.local import LocalServer
from modelyard.client.models import Models
from modelyard.client.operations import OnLog, Operations
from modelyard.client.replays import Replays
from modelyard.client.scoring import Scorer
from modelyard.client.service_settings import Settings
from modelyard.client.services import Services
from modelyard.client.transfer import Progress
from modelyard.domain.model import Model
from modelyard.domain.service_file import ModelSource, ServiceFile, parse_service_file
from modelyard.domain.validation import explain
from modelyard.errors import InvalidRequest, OperationTimedOut, Unauthenticated
from modelyard.schemas import ServerInfo
from modelyard.settings import Settings as Environment

OnStep = Callable[[Step], None]
"""Called with every step of a deploy when it is done."""


class Client:
    """A connection to a server; close it, or use it with `with`. Safe to share between threads."""

    models: Models
    """The model registry."""
    images: Images
    """The image registry."""
    services: Services
    """What runs."""
    alerts: Alerts
    """What is watched, and who is told."""
    captures: Captures
    """Requests that were recorded."""
    replays: Replays
    """Those requests, scored once more."""
    operations: Operations
    """Long-running requests."""

    def __init__(
        self,
        address: Address,
        transport: httpx2.BaseTransport | None = None,
        local: LocalServer | None = None,
    ) -> None:
        self._local = local
        self._connection = Connection(address, transport)
        self._scorer = Scorer(lambda: self.info().authority, transport)
        self.operations = Operations(self._connection)
        self.models = Models(self._connection)
        self.images = Images(self._connection, self.operations)
        self.alerts = Alerts(self._connection)
        self.captures = Captures(self._connection)
        self.replays = Replays(self._connection, self.operations)
        self.services = Services(self._connection, self.operations, self._scorer, self.replays)

    @property
    def url(self) -> str:
        """Address of the server."""
        return self._connection.url

    def info(self) -> ServerInfo:
        """What answers, and where the gateway of its host is."""
        return self._connection.get("/info", ServerInfo)

    def stop_server(self, *, everything: bool = False) -> None:
        """End the server, and wait for that if it is the local one. Services go on answering.

        Args:
            everything: End the agent, the gateway and every replica too.

        Raises:
            OperationTimedOut: The local server is still there after 60 seconds.
        """
        running = self._local.running() if self._local else None
        params = {"everything": everything}
        self._connection.request("POST", "/server/stop", params=params)
        if self._local and running and not self._local.wait_until_stopped(running.pid, 60.0):
            raise OperationTimedOut(
                f"the server (process {running.pid}) has not ended yet",
                hint=f"its log is {self._local.log}",
            )

    def deploy(
        self,
        name: str,
        *,
        script: StrPath | None = None,
        model: StrPath | Model | ModelSource | None = None,
        models: Sequence[StrPath | Model | ModelSource] = (),
        requirements: Requirements | None = None,
        files: Sequence[StrPath] = (),
        sample: JsonValue = None,
        image: str | None = None,
        base: StrPath | None = None,
        platform: str | None = None,
        slim: bool = False,
        allow_sources: bool = False,
        optimize: bool = False,
        target: str | None = None,
        replicas: int | None = None,
        description: str | None = None,
        tags: Mapping[str, str] | None = None,
        properties: Mapping[str, str] | None = None,
        plan: bool = False,
        progress: Progress | None = None,
        on_log: OnLog | None = None,
        on_step: OnStep | None = None,
        **settings: Unpack[Settings],
    ) -> Deployed:
        """Register, build and deploy what differs from what is there; wait until it is ready.

        Args:
            name: Name of the service, and of its model and image unless told otherwise.
            script: The scoring script, with `init()` and `run(data)`; unset serves the one model by
                its own methods.
            model: A file or folder to register, or a registered model such as `iris:3`.
            models: The models when there are several; give either `model` or `models`.
            requirements: What the script imports; unset means nothing but the standard library,
                or, without a script, what the model needs.
            files: Files and folders that the script needs.
            sample: Request body for the check; unset takes the first model's sample input.
            image: Name of the image; unset takes the service's.
            base: What the image stands on in a container, as for `images.build`.
            platform: What the image is for, as for `images.build`.
            slim: Leave what serving does not need out of the environment, as for `images.build`.
            allow_sources: Build packages without wheels, as for `images.build`.
            optimize: Serve a faster form of the model, as for `images.build`.
            target: Where replicas run; unset means `local`.
            replicas: Running copies; unset leaves them as they are, 1 at first.
            description: Free text about the service; unset leaves it as it is.
            tags: Tags of the service; unset leaves them as they are.
            properties: Properties to add to the service.
            plan: Only say what would be done.
            progress: Called with bytes sent and bytes in all, for every model that is registered.
            on_log: Called with every line of the build's and the deployment's log.
            on_step: Called with every step when it is done.
            **settings: See `Settings`; what is absent stays as it is.

        Raises:
            InvalidRequest: Something given is missing or wrong.
            BuildFailed: No image came of it; `details["cause"]` says why.
            DeployFailed: It did not get ready; `details["cause"]` says why.
        """
        chosen = {**settings} | ({} if replicas is None else {"replicas": replicas})
        fields = {
            "name": name,
            "script": None if script is None else str(script),
            "model": model,
            "models": models,
            "requirements": requirements,
            "files": files,
            "sample": sample,
            "image": image,
            "base": None if base is None else str(base),
            "build": {
                "platform": platform,
                "slim": slim,
                "allow_sources": allow_sources,
                "optimize": optimize,
            },
            "target": target,
            "settings": chosen or None,
            "description": description,
            "tags": tags,
            "properties": properties,
        }
        file = describe(fields)
        return self._deploy(file, Path(), plan, Listener(progress, on_log, on_step))

    def deploy_file(
        self,
        path: StrPath,
        *,
        plan: bool = False,
        progress: Progress | None = None,
        on_log: OnLog | None = None,
        on_step: OnStep | None = None,
    ) -> Deployed:
        """Do what `deploy` does, as a service file says; its paths are relative to it.

        Args:
            path: A `service.yaml`.
            plan: Only say what would be done.
            progress: As for `deploy`.
            on_log: As for `deploy`.
            on_step: As for `deploy`.

        Raises:
            InvalidRequest: The file cannot be read, or a field of it is wrong.
        """
        place = Path(path)
        file = parse_service_file(_text(place), str(place))
        return self._deploy(file, place.parent, plan, Listener(progress, on_log, on_step))

    def close(self) -> None:
        """Close the sockets; the server and its services go on."""
        self._connection.close()
        self._scorer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _deploy(self, file: ServiceFile, base: Path, plan: bool, listener: Listener) -> Deployed:
        return Deployer(
            self.models,
            self.images,
            self.services,
            self.operations,
            file=file,
            base=base,
            plan=plan,
            listener=listener,
        ).run()


def connect(url: str | None = None, token: str | None = None) -> Client:
    """Connect to a server; with no URL to the local one, which is started when there is none.

    Args:
        url: Address of a server; unset takes `MODELYARD_URL`, and without that the local server.
        token: Token for it; unset takes `MODELYARD_TOKEN`. The local server's is found by itself.

    Raises:
        ServerUnreachable: The local server cannot be started.
        Unauthenticated: A URL was given, and no token.
    """
    environment = read_environment()
    address = url or environment.url
    if address is None:
        local = LocalServer(environment.home, environment.wheels)
        return Client(local.ensure_running(), local=local)
    secret = token or environment.token
    if not secret:
        raise Unauthenticated(
            f"there is no token for {address}", hint="set MODELYARD_TOKEN, or give `token=`"
        )
    return Client(Address(address, secret))


def read_environment() -> Environment:
    """The settings in the environment variables `MODELYARD_…`.

    Raises:
        InvalidRequest: One of them is not valid.
    """
    try:
        return Environment()
    except ValidationError as error:
        raise explain(error.errors(), "a setting in the environment (MODELYARD_…)") from None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InvalidRequest(
            f"cannot read `{path}`: {reason}", hint="give the path of a service file"
        ) from error
