"""Compares what is new with what served before, while both are here, and takes it out when worse.

`domain.comparison` says when. Called by the loop in every turn: what it returns is the desired
state with other weights, as long as something is being compared. It needs nothing of the server.
What it has found is kept in a file; what it was about to find, a new agent begins anew.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from uuid import UUID

from pydantic import TypeAdapter, ValidationError

from modelyard.agent.drivers.base import Replica
from modelyard.agent.gateway.config import GatewayConfig
from modelyard.agent.gateway.counters import Figures
from modelyard.domain.cause import Cause, CauseCode
from modelyard.domain.comparison import Comparison, Finding, Seen, Worse
from modelyard.domain.desired import DesiredDeployment, DesiredService, DesiredState
from modelyard.files import replace_file
from modelyard_runtime.families import SECONDS

log = logging.getLogger(__name__)

LEAST = 10
"""Requests that the incumbent must have had; with fewer there is nothing to compare with."""
ENOUGH = 200
"""Requests that both have side by side, at most, before the new one gets all of them."""
LONGEST_BESIDE = 20.0
"""Seconds until then, at most."""
QUIET = 2.0
"""Seconds without a request, after which nobody waits for more of them."""
STANDBY = 60.0
"""Seconds for which what served before stays ready, and what is new is judged further."""

_FULL = 100
_CAUSES = TypeAdapter(dict[UUID, Cause])
_NOTHING = Figures()


class Stage(StrEnum):
    """Where the judgement of a deployment stands."""

    COMING = "coming"
    """Its replicas are starting."""
    BESIDE = "beside"
    """It shares the requests with what served before."""
    STANDBY = "standby"
    """It has all of them, and what served before is kept ready."""
    WORSE = "worse"
    """It gets none, and what served before gets all."""
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Ruling:
    """What is decided of one service at this moment."""

    stage: Stage
    candidate: UUID
    incumbent: UUID
    is_canary: bool = False
    """The control plane gives the shares."""
    cause: Cause | None = None
    """Why the candidate is worse."""


@dataclass(slots=True)
class _Trial:
    """A deployment that is being judged; times are monotonic."""

    stage: Stage = Stage.COMING
    since: float = 0.0
    asked_at: float = float("-inf")
    """When the service was last seen to have had a request."""
    requests: int | None = None
    is_canary: bool = False
    comparison: Comparison = field(default_factory=lambda: Comparison(SECONDS))


class Judge:
    """Steers rollouts. Belongs to the agent's loop.

    Args:
        path: Where it keeps what it has found.
        figures: Reads what became of requests, by service and deployment.
    """

    def __init__(
        self, path: Path, figures: Callable[[], Mapping[tuple[str, str], Figures]]
    ) -> None:
        self._path = path
        self._figures = figures
        self._trials: dict[UUID, _Trial] = {}
        self._causes = _read(path)

    def steer(
        self, desired: DesiredState, replicas: Iterable[Replica], config: GatewayConfig, now: float
    ) -> tuple[DesiredState, dict[UUID, Ruling]]:
        """What is desired, with the weights that the judgement needs, and what it rules.

        Args:
            desired: As the control plane has it, numbers of replicas filled in.
            replicas: All that this host has.
            config: What the gateway was told last.
            now: Monotonic seconds.
        """
        present = _present(config)
        pairs = {
            service.id: pair
            for service in desired.services
            if (pair := _pair(service, present.get(service.name, {}))) is not None
        }
        self._forget_others({candidate.id for candidate, _ in pairs.values()})
        if not pairs:
            return desired, {}
        figures, here = self._figures(), list(replicas)
        rulings: dict[UUID, Ruling] = {}
        services = []
        for service in desired.services:
            if service.id in pairs:
                view = _View(
                    service, *pairs[service.id], present.get(service.name, {}), here, figures, now
                )
                ruling = self._rule(view)
                rulings[service.id] = ruling
                service = _steered(service, ruling)
            services.append(service)
        return desired.model_copy(update={"services": tuple(services)}), rulings

    def _rule(self, view: _View) -> Ruling:
        candidate, incumbent = view.candidate.id, view.incumbent.id
        trial = self._trials.setdefault(candidate, _Trial(view.first_stage(), view.now))
        promoted = trial.is_canary and not view.is_canary
        trial.is_canary = view.is_canary
        if promoted:
            trial.stage, trial.since = Stage.STANDBY, view.now
        if candidate not in self._causes and trial.stage is not Stage.DONE:
            trial.stage, trial.since = _next_stage(trial, view)
            cause = None if trial.stage is Stage.COMING else _why_worse(trial, view)
            if cause is not None:
                log.warning("%s", cause.message)
                self._causes[candidate] = cause
                self._keep()
        cause = self._causes.get(candidate)
        stage = Stage.WORSE if cause is not None else trial.stage
        return Ruling(stage, candidate, incumbent, view.is_canary, cause)

    def _forget_others(self, candidates: set[UUID]) -> None:
        for candidate in self._trials.keys() - candidates:
            del self._trials[candidate]
        if self._causes.keys() - candidates:
            self._causes = {id_: self._causes[id_] for id_ in self._causes.keys() & candidates}
            self._keep()

    def _keep(self) -> None:
        try:
            replace_file(self._path, _CAUSES.dump_json(self._causes), durable=False)
        except OSError as error:
            log.error("what was found worse is forgotten with this agent: %s", error)


@dataclass(frozen=True, slots=True)
class _View:
    """What is to be known of one service."""

    service: DesiredService
    candidate: DesiredDeployment
    incumbent: DesiredDeployment
    present: Mapping[UUID, int]
    """Shares that the gateway was told of."""
    replicas: list[Replica]
    figures: Mapping[tuple[str, str], Figures]
    now: float

    @property
    def is_canary(self) -> bool:
        """The control plane gives the shares."""
        return self.service.candidate is not None

    @property
    def serves(self) -> bool:
        """The candidate gets requests."""
        return self.present.get(self.candidate.id, 0) > 0

    def first_stage(self) -> Stage:
        """Where a judgement stands that is not remembered, as after a restart of the agent."""
        if not self.serves:
            return Stage.COMING
        if self.is_canary or self.present.get(self.incumbent.id, 0) > 0:
            return Stage.BESIDE
        return Stage.STANDBY if self.incumbent.id in self.present else Stage.DONE

    def of(self, deployment: DesiredDeployment) -> Figures:
        """What became of its requests."""
        return self.figures.get((self.service.name, str(deployment.id)), _NOTHING)

    def of_candidate(self) -> list[Replica]:
        """Its replicas."""
        return [r for r in self.replicas if r.identity.deployment == self.candidate.id]


def _next_stage(trial: _Trial, view: _View) -> tuple[Stage, float]:
    """The stage that follows, and since when it is; the trial notes whether somebody asks."""
    incumbent, candidate = view.of(view.incumbent), view.of(view.candidate)
    requests = incumbent.requests + candidate.requests
    if trial.requests is not None and requests > trial.requests:
        trial.asked_at = view.now
    trial.requests = requests
    if trial.stage is Stage.COMING:
        ready = sum(replica.ready for replica in view.of_candidate())
        if view.serves:
            return (Stage.BESIDE if view.is_canary else Stage.DONE), view.now
        if view.is_canary or ready < view.service.replicas or not ready:
            return Stage.COMING, view.now
        if incumbent.requests < LEAST:
            return Stage.DONE, view.now
        asked = view.now - trial.asked_at <= QUIET
        return (Stage.BESIDE if asked else Stage.STANDBY), view.now
    if trial.stage is Stage.BESIDE and not view.is_canary:
        if not view.serves:  # the gateway is about to be told
            return Stage.BESIDE, view.now
        enough = trial.comparison.beside(_seen(candidate), _seen(incumbent)) >= ENOUGH
        quiet = view.now - max(trial.asked_at, trial.since) > QUIET
        if enough or quiet or view.now - trial.since >= LONGEST_BESIDE:
            return Stage.STANDBY, view.now
    if trial.stage is Stage.STANDBY and view.now - trial.since >= STANDBY:
        return Stage.DONE, view.now
    return trial.stage, trial.since


def _why_worse(trial: _Trial, view: _View) -> Cause | None:
    if not view.serves or trial.stage is Stage.DONE:
        return None
    replicas = view.of_candidate()
    if view.service.replicas and not any(replica.ready for replica in replicas):
        return _gone(view, replicas)
    candidate, incumbent = _seen(view.of(view.candidate)), _seen(view.of(view.incumbent))
    beside = trial.stage is Stage.BESIDE
    found = trial.comparison.look(candidate, incumbent, beside=beside)
    return None if found is None else _worse(view, found, replicas)


def _worse(view: _View, found: Finding, replicas: list[Replica]) -> Cause:
    failure = next((r.last_failure for r in replicas if r.last_failure is not None), None)
    told = failure.evidence if failure is not None and found.worse is Worse.ERRORS else ()
    return Cause(
        code=CauseCode.CANDIDATE_WORSE,
        message=f"{_names(view)}: {found.what} against {found.against}.",
        evidence=(
            f"requests to it until then: {found.candidate}",
            f"of images that are as good, at most 1 in {min(found.evidence, 1e9):,.0f} shows this",
            *told,
        ),
        fix="What served before serves again, as it did. Where this is as it is to be, such as a "
        "larger model that takes its time, update it with `--unjudged` (`judged: false`).",
    )


def _gone(view: _View, replicas: list[Replica]) -> Cause:
    cause = next((replica.cause for replica in replicas if replica.cause is not None), None)
    why = f": {cause.message}" if cause is not None else "."
    return Cause(
        code=CauseCode.CANDIDATE_WORSE,
        message=f"{_names(view)}: none of its replicas is ready any more{why}",
        evidence=cause.evidence if cause is not None else (),
        fix=cause.fix
        if cause is not None
        else "Its log says more. What served before serves again, as it did.",
    )


def _names(view: _View) -> str:
    candidate, incumbent = view.candidate.image, view.incumbent.image
    if candidate == incumbent:
        return f"`{candidate}` with its new settings is worse than before"
    return f"`{candidate}` is worse than `{incumbent}`"


def _steered(service: DesiredService, ruling: Ruling) -> DesiredService:
    weights: dict[UUID, int] = {}
    standby = None
    match ruling.stage:
        case Stage.BESIDE if service.candidate is None:
            weights = {ruling.candidate: _FULL, ruling.incumbent: _FULL}
        case Stage.STANDBY:
            standby = ruling.incumbent
        case Stage.WORSE:
            weights = {
                d.id: 0 if d.id == ruling.candidate else d.weight for d in service.deployments
            }
            weights[ruling.incumbent] = _FULL
    changed: dict[str, object] = {
        "standby": standby,
        "compared": ruling.stage in (Stage.COMING, Stage.BESIDE, Stage.STANDBY),
        "deployments": tuple(
            d.model_copy(update={"weight": weights.get(d.id, d.weight)})
            for d in service.deployments
        ),
    }
    if ruling.stage is Stage.WORSE:
        changed["candidate"] = None
    return service.model_copy(update=changed)


def _pair(
    service: DesiredService, present: Mapping[UUID, int]
) -> tuple[DesiredDeployment, DesiredDeployment] | None:
    """A deployment that is new, and the one that served before; None where nothing is judged."""
    if not service.judged:
        return None
    serving = [d for d in service.deployments if d.weight > 0]
    if service.candidate is not None:
        candidates = [d for d in serving if d.id == service.candidate]
        others = [d for d in serving if d.id != service.candidate]
    else:
        candidates = serving
        others = [d for d in service.deployments if not d.weight and d.id in present]
    if len(candidates) != 1 or not others:
        return None
    return candidates[0], max(others, key=lambda d: (present.get(d.id, 0), d.weight))


def _present(config: GatewayConfig) -> dict[str, dict[UUID, int]]:
    return {
        route.name: {UUID(d.id): d.weight for d in route.deployments} for route in config.services
    }


def _seen(figures: Figures) -> Seen:
    return Seen(
        requests=figures.requests,
        failed=figures.between(500, 599),
        refused=figures.between(400, 499),
        durations=figures.durations,
        shapes=dict(figures.shapes),
        other_shapes=figures.other_shapes,
    )


def _read(path: Path) -> dict[UUID, Cause]:
    try:
        return _CAUSES.validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return {}
