"""Plain functions that make what the agent's tests need; keywords override."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid5

from tests.factories import KEY

from modelyard.agent.drivers.base import Identity, Replica
from modelyard.agent.gateway.config import GatewayConfig
from modelyard.agent.plan import (
    assignments,
    wanted_config,
)
from modelyard.agent.world import GatewayView, World
from modelyard.domain.cause import Cause, CauseCode
from modelyard.domain.desired import DesiredDeployment, DesiredService, DesiredState, KeyHash
from modelyard.domain.image import Layer, LayerKind, Manifest, ModelMount
from modelyard.domain.service import Authentication, KeySlot, ReplicaSettings, ReplicaState
from modelyard.images.launch import base_python, current_platform

SPACE = UUID(int=7)


def an_id(name: str) -> UUID:
    return uuid5(SPACE, name)


def make_manifest(layers: Sequence[Layer] = (), **changes: Any) -> Manifest:
    values: dict[str, Any] = {
        "platform": current_platform(),
        "python": base_python()[1],
        "script": "score.py",
        "models": (ModelMount(name="digits", version=1, path="digits/1"),),
        "lock": "sha256:" + "0" * 64,
        "layers": tuple(layers)
        or tuple(
            Layer(kind=kind, digest=f"sha256:{number:064x}", size=10)
            for number, kind in enumerate(LayerKind)
        ),
    }
    return Manifest(**{**values, **changes})


def make_deployment(name: str = "a", weight: int = 100, **changes: Any) -> DesiredDeployment:
    values: dict[str, Any] = {
        "id": an_id(name),
        "image": f"{name}:1",
        "manifest": make_manifest(),
        "settings": ReplicaSettings(),
        "weight": weight,
        **changes,
    }
    signature = KEY.sign(values["manifest"].digest)
    return DesiredDeployment(**{"signature": signature, **values})


def make_service(
    *deployments: DesiredDeployment, name: str = "digits", **changes: Any
) -> DesiredService:
    values: dict[str, Any] = {
        "id": an_id(name),
        "name": name,
        "generation": 1,
        "replicas": 2,
        "max_concurrent_requests": 16,
        "max_queue_wait": 10.0,
        "scoring_timeout": 60.0,
        "auth": Authentication.NONE,
        "keys": (KeyHash(id="0123456789abcdef", slot=KeySlot.PRIMARY, hash="0" * 64),),
        "deployments": deployments or (make_deployment(),),
    }
    return DesiredService(**{**values, **changes})


def make_desired(*services: DesiredService, **changes: Any) -> DesiredState:
    values: dict[str, Any] = {"agent": "local", "fence": 1, "generation": 1, "services": services}
    return DesiredState(**{**values, **changes})


def make_replica(
    number: int = 0,
    deployment: str = "a",
    state: ReplicaState = ReplicaState.READY,
    service: str = "digits",
    **changes: Any,
) -> Replica:
    replica = f"{service}-{an_id(deployment).hex[:8]}-{number}"
    values: dict[str, Any] = {
        "identity": Identity(
            replica=replica,
            service=an_id(service),
            service_name=service,
            deployment=an_id(deployment),
            image=f"{deployment}:1",
        ),
        "address": f"/run/{replica}.s",
        "alive": True,
        "state": state,
    }
    return Replica(**{**values, **changes})


def make_cause(code: CauseCode = CauseCode.INIT_RAISED, **changes: Any) -> Cause:
    return Cause(**{"code": code, "message": f"{code} happened", "fix": "Mend it.", **changes})


def make_world(*replicas: Replica, **changes: Any) -> World:
    values: dict[str, Any] = {
        "replicas": replicas,
        "gateway": GatewayView(GatewayConfig(0), 0),
        "images": frozenset({an_id("a"), an_id("b"), an_id("c")}),
    }
    return World(**{**values, **changes})


def settled(desired: DesiredState, world: World) -> World:
    """The same world with a gateway that serves what is wanted of it."""
    config = wanted_config(assignments(desired, world), world)
    return replace(world, gateway=GatewayView(config, config.version))
