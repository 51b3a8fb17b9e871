"""Lists of options that several commands have, each written once."""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, Signature, signature
from typing import Any, TypedDict, get_args, get_type_hints

from modelyard.cli import parameters

_LAST = ("plan", "wait", "form")
"""Options of a command's own that come after those that it shares."""


class BuildOptions(TypedDict, total=False):
    """Ways to build an image."""

    base: parameters.Base
    platform: parameters.Platform
    slim: parameters.Slim
    allow_sources: parameters.AllowSources
    optimize: parameters.Optimize


class SettingOptions(TypedDict, total=False):
    """Settings of a service."""

    replicas: parameters.Replicas
    max_replicas: parameters.MaxReplicas
    idle_time: parameters.IdleTime
    cpu: parameters.Cpu
    memory: parameters.Memory
    scoring_timeout: parameters.ScoringTimeout
    startup_timeout: parameters.StartupTimeout
    environment: parameters.Environment
    network: parameters.Network
    max_concurrent_requests: parameters.MaxConcurrentRequests
    max_queue_wait: parameters.MaxQueueWait
    auth: parameters.Auth
    clients: parameters.Clients
    sticky: parameters.Sticky
    cors_origins: parameters.CorsOrigins
    capture: parameters.Capture
    capture_space: parameters.CaptureSpace
    capture_when_full: parameters.CaptureWhenFull
    capture_durable: parameters.CaptureDurable
    capture_drop: parameters.CaptureDrop
    capture_hash: parameters.CaptureHash
    capture_encrypt: parameters.CaptureEncrypt
    alerts: parameters.Alerts
    judged: parameters.Judged


class ReplaySettingOptions(TypedDict, total=False):
    """Settings of the replica that a replay starts."""

    cpu: parameters.Cpu
    memory: parameters.Memory
    scoring_timeout: parameters.ScoringTimeout
    startup_timeout: parameters.StartupTimeout
    environment: parameters.Environment
    network: parameters.Network


class DeployOptions(BuildOptions, SettingOptions, total=False):
    """All that leads from files to a service."""


def options(kind: type) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Let a command have one of these lists; it gets those that were given as `**options`.

    `environment` comes as a mapping, and a list that was given as one empty text has nothing in it.
    """
    hints = get_type_hints(kind, include_extras=True)
    shared = [
        Parameter(name, Parameter.POSITIONAL_OR_KEYWORD, default=_unset(hint), annotation=hint)
        for name, hint in hints.items()
    ]

    def extend(command: Callable[..., None]) -> Callable[..., None]:
        def run(**arguments: Any) -> None:
            told = {name: arguments.pop(name) for name in hints}
            given = {
                name: [] if value == [""] else value
                for name, value in told.items()
                if _is_given(value, hints[name])
            }
            if "environment" in given:
                given["environment"] = parameters.variables(given["environment"])
            command(**arguments, **given)

        *own, _ = signature(command, eval_str=True).parameters.values()
        at = next(at for at, one in enumerate(own) if one.name in _LAST)
        listed = Signature([*own[:at], *shared, *own[at:]])
        run.__name__, run.__doc__ = command.__name__, command.__doc__
        run.__annotations__ = {name: one.annotation for name, one in listed.parameters.items()}
        run.__signature__ = listed  # type: ignore[attr-defined]
        return run

    return extend


def _is_given(value: Any, hint: Any) -> bool:
    return value is not _unset(hint) and value not in (None, [])


def _unset(hint: Any) -> Any:
    return False if get_args(hint)[0] is bool else None
