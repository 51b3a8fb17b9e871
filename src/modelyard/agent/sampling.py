"""Has every new replica score its image's sample before it gets requests.

A replica that is ready and has not scored it yet is shown to the rest of the agent as one that is
starting. It works without the server: sample and schema are in the desired state.
"""

from __future__ import annotations

import http.client
import json
import logging
import socket
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from modelyard.agent.backoff import Backoff
from modelyard.agent.drivers.base import Replica
from modelyard.domain.answers import why_unlike
from modelyard.domain.cause import Cause, CauseCode
from modelyard.domain.desired import DesiredDeployment, DesiredState
from modelyard.domain.service import ReplicaState

log = logging.getLogger(__name__)

_GRACE = 1.0  # seconds beyond the scoring timeout, after which the runtime answers by itself
_LARGEST_ANSWER = 256 << 10
_LONGEST_SHOWN = 500
_PATIENCE = 1.0  # seconds until the runtime has told why the sample failed
_PATIENCE_WITH_ENDS = 5.0  # seconds until a replica has told why it ended over the sample


class Life(NamedTuple):
    """One life of a replica, which may be restarted under the same id."""

    replica: str
    started_at: datetime | None


class Lost(Exception):
    """The replica ended the connection, or could not be reached."""


@dataclass(slots=True)
class _Attempts:
    """What became of the sample at one replica."""

    passed: bool = False
    busy: bool = False
    failed_at: float = 0.0
    cause: Cause | None = None
    """Why it last failed."""
    lost: bool = False
    """It ended the connection instead of answering."""
    backoff: Backoff = field(default_factory=lambda: Backoff(0.5, 30.0))


class Sampler:
    """Has samples scored in the background.

    Args:
        wake: Called when one was.
        clock: Monotonic seconds.
    """

    def __init__(self, wake: Callable[[], None], clock: Callable[[], float]) -> None:
        self._wake = wake
        self._clock = clock
        self._lock = threading.Lock()
        self._attempts: dict[Life, _Attempts] = {}
        self._proven: set[UUID] = set()
        """Deployments of which a replica has scored it."""
        self._problems: dict[UUID, Cause] = {}

    def admit(
        self,
        replicas: Collection[Replica],
        desired: DesiredState,
        routed: Collection[str],
        reached: Mapping[UUID, int],
    ) -> tuple[Replica, ...]:
        """The replicas as the rest of the agent is to see them.

        Args:
            replicas: As their supervisors see them.
            desired: What is wanted.
            routed: Ids of the replicas that get requests: those stay.
            reached: The generation that each service has fully reached.
        """
        wanted = {d.id: d for service in desired.services for d in service.deployments}
        settled = {s.id for s in desired.services if reached.get(s.id, 0) >= s.generation}
        served = {r.identity.service for r in replicas if r.id in routed and r.ready}
        self._forget_others(replicas, wanted)
        seen = []
        for replica in replicas:
            deployment = wanted.get(replica.identity.deployment)
            if deployment is not None and replica.id not in routed:
                proven = deployment.id in self._proven or replica.identity.service in settled
                # Where nothing serves, to wait for what has scored before helps nobody.
                alone = proven and replica.identity.service not in served
                if deployment.sample is not None and not alone:
                    replica = self._judged(replica, deployment)
            seen.append(replica)
        return tuple(seen)

    def problems(self) -> dict[UUID, Cause]:
        """Why replicas of a deployment have not scored the sample."""
        with self._lock:
            return dict(self._problems)

    def _judged(self, replica: Replica, deployment: DesiredDeployment) -> Replica:
        life, now = Life(replica.id, replica.started_at), self._clock()
        with self._lock:
            self._explain(replica, now)
            if not replica.ready:
                return replica
            attempts = self._attempts_of(life)
            if attempts.passed:
                return replica
            if not attempts.busy and attempts.backoff.due(now):
                attempts.busy = True
                arguments = (life, replica.address, deployment)
                threading.Thread(target=self._attempt, args=arguments, daemon=True).start()
        return replace(replica, state=ReplicaState.STARTING)

    def _attempts_of(self, life: Life) -> _Attempts:
        if life not in self._attempts:
            earlier = [other for other in self._attempts if other.replica == life.replica]
            known = [self._attempts.pop(other) for other in earlier]
            self._attempts[life] = (
                replace(known[-1], passed=False, busy=False) if known else _Attempts()
            )
        return self._attempts[life]

    def _explain(self, replica: Replica, now: float) -> None:
        """Tell why the sample failed, as soon as the replica has told its part of it."""
        for life, attempts in self._attempts.items():
            if life.replica != replica.id or attempts.cause is None:
                continue
            seen = replica.cause if attempts.lost else replica.last_failure
            patience = _PATIENCE_WITH_ENDS if attempts.lost else _PATIENCE
            if seen is not None or now - attempts.failed_at >= patience:
                cause = _joined(attempts.cause, seen, lost=attempts.lost)
                self._problems[replica.identity.deployment] = cause

    def _attempt(self, life: Life, address: str, deployment: DesiredDeployment) -> None:
        lost = False
        try:
            cause = score_sample(address, deployment)
        except Lost:
            lost = True
            cause = _failed(deployment.image, "its replica ended the connection", ())
        except Exception as error:
            log.exception("the sample of %s", deployment.image)
            cause = _failed(deployment.image, repr(error), ())
        with self._lock:
            self._note(life, deployment.id, cause, lost=lost)
        if cause is not None:
            log.warning("replica %s: %s", life.replica, cause.message)
        self._wake()

    def _note(self, life: Life, deployment: UUID, cause: Cause | None, *, lost: bool) -> None:
        attempts = self._attempts.get(life)
        if attempts is None:
            return  # forgotten meanwhile
        attempts.busy, attempts.cause, attempts.lost = False, cause, lost
        if cause is not None:
            attempts.failed_at = self._clock()
            attempts.backoff.failed(attempts.failed_at)
            return
        attempts.passed = True
        self._proven.add(deployment)
        self._problems.pop(deployment, None)

    def _forget_others(self, replicas: Iterable[Replica], wanted: Collection[UUID]) -> None:
        ids = {replica.id for replica in replicas}
        with self._lock:
            for life in [life for life in self._attempts if life.replica not in ids]:
                del self._attempts[life]
            for deployment in self._problems.keys() - set(wanted):
                del self._problems[deployment]
            self._proven &= set(wanted)


def score_sample(address: str, deployment: DesiredDeployment) -> Cause | None:
    """Why a replica does not score its image's sample as it should; None when it does.

    Args:
        address: Path of its Unix socket, or `host:port`.
        deployment: With the sample.

    Raises:
        Lost: It ended meanwhile.
    """
    image, timeout = deployment.image, deployment.settings.scoring_timeout
    try:
        status, body = _ask(address, json.dumps(deployment.sample).encode(), timeout + _GRACE)
    except TimeoutError:
        return _failed(image, f"no answer within its scoring timeout of {timeout:g} s", ())
    except (OSError, http.client.HTTPException) as error:
        raise Lost(str(error)) from error
    shown = body[:_LONGEST_SHOWN].decode("utf-8", "backslashreplace")
    if not http.HTTPStatus.OK <= status < http.HTTPStatus.MULTIPLE_CHOICES:
        return _failed(image, f"it answered {status}", (shown,))
    unlike = None if deployment.answer is None else _why_unlike(body, deployment)
    return None if unlike is None else _failed(image, unlike, (shown,))


def _why_unlike(body: bytes, deployment: DesiredDeployment) -> str | None:
    if len(body) > _LARGEST_ANSWER:
        return None
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return "its answer is not JSON, which the image declares"
    unlike = why_unlike(answer, deployment.answer)
    return None if unlike is None else f"its answer has another shape: {unlike}"


class _Connection(http.client.HTTPConnection):
    """A connection to a replica, at its socket or port."""

    def __init__(self, address: str, timeout: float) -> None:
        self._path = address if address.startswith("/") else None
        super().__init__("replica" if self._path else address, timeout=timeout)

    def connect(self) -> None:
        if self._path is None:
            super().connect()
            return
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _ask(address: str, body: bytes, timeout: float) -> tuple[int, bytes]:
    connection = _Connection(address, timeout)
    try:
        headers = {"content-type": "application/json", "connection": "close"}
        connection.request("POST", "/score", body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read(_LARGEST_ANSWER + 1)
    finally:
        connection.close()


def _joined(cause: Cause, seen: Cause | None, *, lost: bool) -> Cause:
    """What failed, with what the replica told of it; where it ended, that alone is the reason."""
    if seen is None:
        return cause
    if lost:
        evidence = ("it was scoring the image's sample", *seen.evidence)
        return seen.model_copy(update={"evidence": evidence})
    return cause.model_copy(update={"evidence": (*seen.evidence, *cause.evidence)})


def _failed(image: str, what: str, evidence: tuple[str, ...]) -> Cause:
    return Cause(
        code=CauseCode.SAMPLE_FAILED,
        message=f"`{image}` does not score its own sample here: {what}.",
        evidence=evidence,
        fix="It scored it when it was built: compare the settings and variables of the service, "
        "and what the script reaches outside of the image. What served before goes on serving.",
    )
