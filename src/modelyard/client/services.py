"""Services: deploy, update, scale, score, logs, keys, why, delete."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, Unpack
from uuid import UUID

from pydantic import TypeAdapter

from modelyard.client.access import Access
from modelyard.client.callers import Caller, Callers
from modelyard.client.connection import Connection, parse
from modelyard.client.files import StrPath
from modelyard.client.images import image_reference
from modelyard.client.logs import read_log
from modelyard.client.monitoring import Monitoring
from modelyard.client.operations import OnLog, Operations
from modelyard.client.replays import Replays, replay_gate
from modelyard.client.scoring import Scored, Scorer
from modelyard.client.service_settings import Settings
from modelyard.client.truths import batches, read_truths
from modelyard.domain.cause import Cause
from modelyard.domain.change import ServiceChange
from modelyard.domain.image import Image
from modelyard.domain.operation import LogLine, Operation
from modelyard.domain.replay import ReplayGate
from modelyard.domain.search import Page
from modelyard.domain.service import Service, ServiceState
from modelyard.domain.validation import compose
from modelyard.errors import DeployFailed, InvalidRequest
from modelyard.schemas import AcceptedService, DeployService, SplitService, UpdateService

Share = int | str
"""Percent: a whole number, or text such as `10%`."""
_STEP = 0.25
"""Seconds between two looks at a service that is on its way."""


class Services(Access, Monitoring):
    """What runs."""

    _kind = "service"
    _item = Service
    _page = Page[Service]

    def __init__(
        self, connection: Connection, operations: Operations, scorer: Scorer, replays: Replays
    ) -> None:
        super().__init__(connection)
        self._operations = operations
        self._replays = replays
        self._scorer = scorer
        self._callers = Callers(self._caller)

    def deploy(
        self,
        name: str,
        image: str | Image,
        *,
        replicas: int = 1,
        target: str = "local",
        tags: Mapping[str, str] | None = None,
        properties: Mapping[str, str] | None = None,
        description: str = "",
        wait: bool = True,
        on_log: OnLog | None = None,
        **settings: Unpack[Settings],
    ) -> Service:
        """Create a service that runs an image.

        Args:
            name: Name of the service; it becomes part of its address.
            image: `iris:3`, or `iris` for the latest version.
            replicas: Running copies.
            target: Where they run.
            tags: Labels that may change later.
            properties: Facts that never change.
            description: Free text.
            wait: Return when every replica is ready; otherwise at once.
            on_log: Called with every line of the operation's log while waiting.
            **settings: See `Settings`.

        Raises:
            NotFound: There is no such image.
            Conflict: The name is taken, or the image is not built.
            DeployFailed: It did not get ready; `details["cause"]` says why.
        """
        fields = {
            "name": name,
            "image": image_reference(image),
            "target": target,
            "settings": {**settings, "replicas": replicas},
            "tags": dict(tags or {}),
            "properties": dict(properties or {}),
            "description": description,
        }
        accepted = self.start_deploy(fields)
        return self.wait(accepted, on_log) if wait else accepted.service

    def update(
        self,
        name: str,
        image: str | Image | None = None,
        *,
        replicas: int | None = None,
        canary: Share | Sequence[Share] | None = None,
        step_time: float | str | None = None,
        shadow: Share | None = None,
        replay: int | Mapping[str, Any] | None = None,
        max_diff: float | str | None = None,
        wait: bool = True,
        on_log: OnLog | None = None,
        **settings: Unpack[Settings],
    ) -> Service:
        """Change the image or settings; what is absent stays, and no request fails meanwhile.

        Where it is so already, nothing changes, and the log says so.

        Args:
            name: Name of the service.
            image: What to run instead.
            replicas: Running copies.
            canary: Try the change beside what serves, with this share of the traffic, `"10%"`, or
                with several, one after the other. It returns when the first share is reached.
            step_time: How long each share of several lasts, `"10m"`; after the last one the
                candidate gets all. Unset: until `promote` or `rollback`.
            shadow: Try the change with copies of this share of the requests. Its answers go to
                nobody: they are compared with those that callers get (`status.comparison`).
            replay: Change it only if so many captured requests, scored with what it is to be, are
                answered as before; or the fields of `replay` in a service file, such as
                `{"requests": 1000, "altered": True}`.
            max_diff: Percent of them that may be answered otherwise, `"2%"`; unset: none.
            wait: Return when it is reached; otherwise at once.
            on_log: Called with every line of the operation's log while waiting.
            **settings: See `Settings`.

        Raises:
            NotFound: There is no such service or image.
            Conflict: The service is being deleted, a candidate is being tried, or the image is not
                built.
            ReplayFailed: Too much is answered otherwise; nothing has changed.
            DeployFailed: The new replicas did not get ready; the old ones go on serving.
        """
        fields: dict[str, Any] = {"settings": dict(settings)}
        if replicas is not None:
            fields["settings"]["replicas"] = replicas
        if image is not None:
            fields["image"] = image_reference(image)
        if step_time is not None and not canary:
            raise InvalidRequest(
                "`step_time` is how long each share of a canary lasts, and there is no share",
                hint='give `canary` too, such as `"10%"`',
            )
        if canary is not None:
            steps = [canary] if isinstance(canary, int | str) else list(canary or ())
            fields["canary"] = {"steps": steps, "step_time": step_time}
        if shadow is not None:
            fields["shadow"] = shadow
        gate = replay_gate(replay, max_diff)
        if gate is not None:
            fields["replay"] = self.prove(name, fields, gate, on_log)
        return self._changed(self.start_update(name, fields), wait, on_log)

    def scale(
        self, name: str, replicas: int, *, wait: bool = True, on_log: OnLog | None = None
    ) -> Service:
        """Change the number of replicas; those that stay are not restarted."""
        return self.update(name, replicas=replicas, wait=wait, on_log=on_log)

    def split(
        self,
        name: str,
        shares: Mapping[str, Share],
        *,
        wait: bool = True,
        on_log: OnLog | None = None,
    ) -> Service:
        """Have several images answer for a service, each with a share of its traffic.

        Args:
            name: Name of the service.
            shares: By image, `{"digits:3": "80%", "digits:4": "20%"}`; together 100 %.
            wait: Return when it is reached; otherwise at once.
            on_log: Called with every line of the operation's log while waiting.

        Raises:
            NotFound: There is no such service or image.
            Conflict: The service is being deleted, a candidate is being tried, or an image is not
                built.
            DeployFailed: An image did not get ready; what served before goes on.
        """
        accepted = self.start_split(name, {"shares": dict(shares)})
        return self._changed(accepted, wait, on_log)

    def promote(self, name: str, *, wait: bool = True, on_log: OnLog | None = None) -> Service:
        """Give the candidate of a service all of the traffic, and retire what served before.

        Raises:
            Conflict: No candidate is being tried.
            DeployFailed: It did not get ready for all of it; what served before goes on.
        """
        return self._turn(name, "promote", wait, on_log)

    def rollback(self, name: str, *, wait: bool = True, on_log: OnLog | None = None) -> Service:
        """Go back to the images and settings that served before, without a failed request.

        While a candidate is tried, that drops it at once. Asked twice without one, it goes forth
        again.

        Raises:
            Conflict: Nothing else has served.
            NotFound: There is no such service, or the image was deleted.
            DeployFailed: The replicas did not get ready; those of now go on serving.
        """
        return self._turn(name, "rollback", wait, on_log)

    def history(self, name: str) -> tuple[ServiceChange, ...]:
        """What a service was asked to be, newest first, who asked, and what became of it."""
        response = self._connection.request("GET", f"{self._path(name)}/history")
        return _HISTORY.validate_json(response.content)

    def start_deploy(self, fields: Mapping[str, Any]) -> AcceptedService:
        """Ask for a new service; `fields` are those of `DeployService`."""
        request = compose(DeployService, fields, "the service")
        return self._connection.create("POST", "/services", request, AcceptedService)

    def prove(
        self, name: str, fields: Mapping[str, Any], gate: ReplayGate, on_log: OnLog | None
    ) -> UUID:
        """Replay what a change would make of a service; `fields` are those of `UpdateService`."""
        compose(UpdateService, fields, "the change")
        image = fields.get("image") or self.get(name).image
        return self._replays.prove(name, image, fields.get("settings", {}), gate, on_log)

    def start_update(self, name: str, fields: Mapping[str, Any]) -> AcceptedService:
        """Ask for a change; `fields` are those of `UpdateService`."""
        request = compose(UpdateService, fields, "the change")
        return self._connection.create("PATCH", self._path(name), request, AcceptedService)

    def start_split(self, name: str, fields: Mapping[str, Any]) -> AcceptedService:
        """Ask for other shares of the traffic; `fields` are those of `SplitService`."""
        request = compose(SplitService, fields, "the split")
        path = f"{self._path(name)}/split"
        return self._connection.create("POST", path, request, AcceptedService)

    def wait(self, accepted: AcceptedService, on_log: OnLog | None = None) -> Service:
        """Wait until an accepted change is reached, and return the service as it is then.

        Raises:
            DeployFailed: It was not reached; `details["cause"]` says why.
        """
        self._operations.wait(accepted.operation.id, on_log=on_log)
        return self.get(accepted.service.name)

    def settled(self, service: Service, on_log: OnLog | None = None) -> Service:
        """A service that is asked for nothing new, when nothing is on its way any more.

        Raises:
            DeployFailed: It is as wanted, and yet not ready.
        """
        for operation in self._operations.page(name=service.name, limit=200).items:
            if operation.resource == f"service {service.name}" and not operation.state.ended:
                self._operations.wait(operation.id, on_log=on_log)
        service = self._arrived(self.get(service.name))
        if service.status.state is not ServiceState.HEALTHY:
            cause = self.why(service.name)
            raise DeployFailed(
                f"nothing differs, and service `{service.name}` is not ready"
                + (f": {cause.message}" if cause else ""),
                hint=cause.fix if cause else f"see `modelyard service logs {service.name}`",
                details={"cause": cause.model_dump(mode="json")} if cause else {},
            )
        return service

    def _arrived(self, service: Service) -> Service:
        """The service when its replicas have come, as after a restart of the server, or cannot."""
        deadline = time.monotonic() + service.settings.startup_timeout
        while service.status.state is ServiceState.TRANSITIONING and time.monotonic() < deadline:
            time.sleep(_STEP)
            service = self.get(service.name)
        return service

    def _changed(self, accepted: AcceptedService, wait: bool, on_log: OnLog | None) -> Service:
        if not (wait or accepted.unchanged):
            return accepted.service
        service = self.wait(accepted, on_log)
        return self.settled(service, on_log) if wait and accepted.unchanged else service

    def logs(
        self,
        name: str,
        *,
        replica: str | None = None,
        request: str | None = None,
        follow: bool = False,
        tail: int | None = None,
    ) -> Iterator[LogLine]:
        """What the replicas wrote, back to their start.

        Args:
            name: Name of the service.
            replica: Only this one; unset reads all.
            request: Only what was printed for the request with this id, which its answer has as
                `x-request-id`.
            follow: Wait for further lines, until the caller stops reading.
            tail: Begin with the last so many lines; unset begins at the start.
        """
        params = {"replica": replica, "tail": tail, "request": request}
        return read_log(
            self._connection,
            f"{self._path(name)}/logs",
            {key: value for key, value in params.items() if value is not None},
            lambda: not follow,
        )

    def score(self, name: str, data: Any, *, certificate: StrPath | None = None) -> Any:
        """Send data to a service and return its answer.

        Args:
            name: Name of the service.
            data: What `run()` gets: bytes as they are, everything else as JSON.
            certificate: PEM file with a client certificate and its key, for a service with `auth`
                `cert`, as `issue_certificate` writes it.

        Returns:
            The answer: JSON parsed, text as `str`, anything else as `bytes`.

        Raises:
            ScoringFailed: The service answered with an error; `details["status"]` is its status.
            Unavailable: Nothing listens at the service's address.
            InvalidRequest: The file of the certificate cannot be used.
        """
        return self.scored(name, data, certificate=certificate).answer

    def scored(self, name: str, data: Any, *, certificate: StrPath | None = None) -> Scored:
        """As `score`, and what `feedback` names the answer by: `answer` and `prediction_id`.

        Args:
            name: Name of the service.
            data: As in `score`.
            certificate: As in `score`.

        Raises:
            ScoringFailed: As in `score`.
            Unavailable: As in `score`.
            InvalidRequest: As in `score`.
        """
        path = None if certificate is None else Path(certificate)
        return self._callers.call(
            name, lambda service, key: self._scorer.score(service, key, data, path)
        )

    def feedback(
        self,
        name: str,
        prediction_id: str,
        truth: Any,
        *,
        row: int | None = None,
        certificate: StrPath | None = None,
    ) -> int:
        """Tell what turned out to be true of an answer; whatever was told before is replaced.

        Args:
            name: Name of the service.
            prediction_id: The answer's `x-prediction-id`, which `scored` gives.
            truth: JSON, such as the model ought to have answered; a list has one for each row of
                the request, None where it is not known.
            row: Of the request, from 0: the truth is of this one, and may be a list itself.
            certificate: As in `score`.

        Returns:
            How many truths were stored: they are on the disk of the gateway.

        Raises:
            InvalidRequest: It is no truth; or as in `score`.
            Unavailable: There is no room for it, or nothing listens at the service's address.
            ScoringFailed: The service answered with another error.
        """
        told = {"prediction_id": prediction_id, "truth": truth}
        if row is not None:
            told["row"] = row
        return self.feedback_all(name, [told], certificate=certificate)

    def feedback_all(
        self,
        name: str,
        told: StrPath | Iterable[Mapping[str, Any]],
        *,
        certificate: StrPath | None = None,
    ) -> int:
        """Tell many truths, in as few requests as will do; as `feedback` does.

        Args:
            name: Name of the service.
            told: Of each `prediction_id`, `truth` and maybe `row`; or a file of them: `.csv`,
                `.jsonl` or `.parquet`.
            certificate: As in `score`.

        Returns:
            How many truths were stored. After an error those of earlier requests are; to tell
            them again does no harm.
        """
        path = None if certificate is None else Path(certificate)
        entries = read_truths(Path(told)) if isinstance(told, str | PathLike) else told
        stored = 0
        for body in batches(entries):
            send = partial(self._scorer.tell, body=body, certificate=path)
            stored += self._callers.call(name, send)
        return stored

    def why(self, name: str) -> Cause | None:
        """The one cause for anything not ready; None when there is nothing to say."""
        response = self._connection.request("GET", f"{self._path(name)}/why")
        return None if response.content == b"null" else parse(Cause, response)

    def delete(self, name: str, *, wait: bool = True) -> Operation:
        """Drain the replicas of a service and remove it.

        Args:
            name: Name of the service.
            wait: Return when it is gone; otherwise at once.
        """
        operation = parse(Operation, self._connection.request("DELETE", self._path(name)))
        self._callers.forget(name)
        return self._operations.wait(operation.id) if wait else operation

    def _turn(self, name: str, verb: str, wait: bool, on_log: OnLog | None) -> Service:
        response = self._connection.request("POST", f"{self._path(name)}/{verb}")
        accepted = parse(AcceptedService, response)
        return self.wait(accepted, on_log) if wait else accepted.service

    def _caller(self, name: str) -> Caller:
        service = self.get(name)
        return service, self.credential(service)

    def _labels_path(self, reference: str) -> str:
        return f"{self._path(reference)}/labels"


_HISTORY = TypeAdapter(tuple[ServiceChange, ...])
