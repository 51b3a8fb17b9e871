"""How an unpacked image is started: the runtime's command, environment and configuration.

The check start and the agent's local driver both start images with these, so that what was checked
is what runs.
"""

from __future__ import annotations

import math
import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import JsonValue

from modelyard.domain.cause import Cause, CauseCode
from modelyard.domain.image import Base, LayerKind, Manifest, Platform
from modelyard_runtime import standalone

ROOT = "opt/modelyard"
"""Where an image keeps everything of ours, below the root of a container or a layer's folder."""
ENVIRONMENT_ROOT = f"{ROOT}/environment"
RUNTIME_ROOT = f"{ROOT}/runtime"
CODE_ROOT = f"{ROOT}/code"
MODELS_ROOT = f"{ROOT}/models"
ROOTS = {
    LayerKind.ENVIRONMENT: ENVIRONMENT_ROOT,
    LayerKind.RUNTIME: RUNTIME_ROOT,
    LayerKind.CODE: CODE_ROOT,
    LayerKind.MODEL: MODELS_ROOT,
}
"""What the layers of each kind fill."""
MANIFEST_PATH = f"{ROOT}/manifest.json"
"""Where an image tells what it is, in a container."""

PYTHON_KIND = "python"
"""Kind of the images that the Python runtime runs."""
MAX_BODY = standalone.MAX_BODY
"""Largest request body in bytes that a replica reads."""

_RUNTIME = ("-s", "-S", "-P", "-m", "modelyard_runtime")
"""-s -S keep the packages of the Python out, -P whatever lies in the working folder."""
_ALWAYS = {
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONFAULTHANDLER": "1",  # a crash in a compiled library then shows its lines
}
_ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


class Interpreter(NamedTuple):
    """What an environment is made for."""

    platform: Platform
    python: str
    """Minor version, such as `3.11`."""


def current_interpreter() -> Interpreter:
    """This host's Python."""
    return Interpreter(current_platform(), base_python()[1])


def current_platform() -> Platform:
    """What this host can run."""
    machine = platform.machine().lower()
    return Platform(os=sys.platform, architecture=_ARCHITECTURES.get(machine, machine))


def base_python() -> tuple[Path, str]:
    """The interpreter behind this process's virtual environment, and its minor version."""
    executable = getattr(sys, "_base_executable", None) or sys.executable
    return Path(executable), f"{sys.version_info.major}.{sys.version_info.minor}"


def why_unsuitable(manifest: Manifest) -> Cause | None:
    """Why this host cannot run an image as processes, or None when it can."""
    here, (_, python) = current_platform(), base_python()
    if manifest.kind != PYTHON_KIND:
        need, have = f"a runtime of kind `{manifest.kind}`", f"one of kind `{PYTHON_KIND}`"
    elif manifest.platform != here:
        need, have = str(manifest.platform), str(here)
    elif manifest.python != python:
        need, have = f"Python {manifest.python}", f"Python {python}"
    else:
        return None
    return Cause(
        code=CauseCode.WRONG_PLATFORM,
        message=f"The image needs {need}; this host has {have}.",
        evidence=(f"image: {manifest.digest}",),
        fix="Build the image again on a host like this one, or run it on one like its own.",
    )


def runtime_command(
    manifest: Manifest,
    layers: Mapping[LayerKind, Path],
    cpu: float,
    environment: Mapping[str, str],
    scratch: Path,
    python: str | None = None,
) -> tuple[list[str], dict[str, str]]:
    """Command and whole environment of an image's runtime; `--config <path>` is to be appended.

    Args:
        manifest: The image, which `why_unsuitable` found suitable.
        layers: Folder of every unpacked layer.
        cpu: Cores; numerical libraries get as many threads, rounded up.
        environment: The user's variables; they may change defaults but not what finds the code.
        scratch: Private folder of this replica, for its temporary files and as its home.
        python: The interpreter; None is the one behind this process.
    """
    interpreter = python or str(base_python()[0])
    search = (
        layers[LayerKind.RUNTIME] / RUNTIME_ROOT,
        layers[LayerKind.ENVIRONMENT] / ENVIRONMENT_ROOT,
    )
    defaults = {
        "PATH": os.defpath,
        "HOME": str(scratch),
        "USER": "modelyard",  # whose number nobody could look up
        "TMPDIR": str(scratch),
        "LANG": "C.UTF-8",
        **dict.fromkeys(standalone.THREADS, str(math.ceil(cpu))),
    }
    fixed = {
        "PYTHONPATH": os.pathsep.join(map(str, search)),
        **_ALWAYS,
    }
    return [interpreter, *_RUNTIME], {**defaults, **environment, **fixed}


def container_command(base: Base) -> tuple[list[str], dict[str, str]]:
    """Command and environment of an image that a container engine starts by itself.

    Args:
        base: What it stands on; its variables hold where ours do not.
    """
    defaults = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": "/tmp"}  # noqa: S108 - the one folder that may be writable
    fixed = {"PYTHONPATH": f"/{RUNTIME_ROOT}:/{ENVIRONMENT_ROOT}", **_ALWAYS}
    command = [base.python, *_RUNTIME, "--image", f"/{MANIFEST_PATH}"]
    return command, {**defaults, **base.environment, **fixed}


def replica_config(
    manifest: Manifest,
    layers: Mapping[LayerKind, Path],
    *,
    service: str,
    workers: int,
    scoring_timeout: float,
    drain_timeout: float,
    max_body: int = MAX_BODY,
    network: bool = True,
    sample: JsonValue = None,
) -> dict[str, Any]:
    """The runtime's configuration, except `fd` and `status`, which whoever starts it knows.

    Args:
        manifest: The image.
        layers: Folder of every unpacked layer.
        service: Name that the replica calls itself in its log.
        workers: Processes that score.
        scoring_timeout: Longest time for one request, in seconds.
        drain_timeout: Time in seconds that requests in flight get at the end.
        max_body: Largest request body, in bytes.
        network: It may reach other hosts; false lets it say so when a script tries.
        sample: A request that it scores, as an example in its description.
    """
    return {
        "service": service,
        "workers": workers,
        "code": str(layers[LayerKind.CODE] / CODE_ROOT),
        "script": manifest.script,
        "models_root": str(layers[LayerKind.MODEL] / MODELS_ROOT),
        "models": [model.model_dump(mode="json", exclude_none=True) for model in manifest.models],
        "scoring_timeout": scoring_timeout,
        "drain_timeout": drain_timeout,
        "max_body": max_body,
        "network": network,
        "sample": sample,
    }
