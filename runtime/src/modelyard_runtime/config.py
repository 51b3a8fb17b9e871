"""What a replica is told at its start: `replica.json`, written by whoever starts it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import orjson


class InvalidConfig(Exception):
    """The configuration file cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class Model:
    """One model of the image."""

    name: str
    version: str
    path: str


@dataclass(frozen=True, slots=True)
class Config:
    """Everything a replica is told."""

    fd: int
    """An inherited, already listening stream socket."""
    workers: int
    code: str
    """Folder of the scoring script and the files beside it; becomes the working directory."""
    script: str
    """Path of the scoring script below `code`."""
    models_root: str
    models: tuple[Model, ...]
    status: str
    """Path of the status file."""
    service: str
    scoring_timeout: float
    """Seconds for one request, its wait for a busy worker included; then 504."""
    max_body: int
    """Longest body in bytes; then 413."""
    drain_timeout: float
    """Seconds after SIGTERM to finish what is in flight."""

    @property
    def model_dir(self) -> str:
        """What `AZUREML_MODEL_DIR` says: the folder of the only model, or the one of all."""
        if len(self.models) == 1:
            model = self.models[0]
            return os.path.join(self.models_root, model.name, model.version)
        return self.models_root


def read_config(path: str) -> Config:
    """Read and check a configuration file.

    Raises:
        InvalidConfig: It cannot be read, is not JSON, lacks a key or has an impossible value.
    """
    try:
        with open(path, "rb") as file:
            return _parse(orjson.loads(file.read()))
    except OSError as error:
        raise InvalidConfig(f"cannot read {path}: {error.strerror}") from error
    except KeyError as error:
        raise InvalidConfig(f"{path} lacks the key {error}") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise InvalidConfig(f"{path} is not a configuration: {error}") from error


def _parse(values: dict[str, Any]) -> Config:
    models = [
        Model(str(model["name"]), str(model["version"]), str(model["path"]))
        for model in values["models"]
    ]
    config = Config(
        fd=int(values["fd"]),
        workers=int(values["workers"]),
        code=str(values["code"]),
        script=str(values["script"]),
        models_root=str(values["models_root"]),
        models=tuple(models),
        status=str(values["status"]),
        service=str(values["service"]),
        scoring_timeout=float(values["scoring_timeout"]),
        max_body=int(values["max_body"]),
        drain_timeout=float(values["drain_timeout"]),
    )
    if min(config.workers, config.max_body, config.scoring_timeout, config.drain_timeout) <= 0:
        raise ValueError("workers, max_body, scoring_timeout and drain_timeout must be positive")
    return config
