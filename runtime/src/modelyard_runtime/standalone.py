"""An image that is started by itself: its configuration, from its manifest and the environment.

`python -m modelyard_runtime --image /opt/modelyard/manifest.json` is what a container of the image
runs. Beside the manifest lie `code/` and `models/`. What can be set is `MODELYARD_…`; the names and
defaults are in docs/reference/scoring.md.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson

from modelyard_runtime import cpus
from modelyard_runtime.config import Config, InvalidConfig, parse_config

ANYWHERE = "*"
PORT = 8080
"""Where an image listens unless it is told otherwise."""
SCORING_TIMEOUT = 60.0
DRAIN_TIMEOUT = 8.0
"""Seconds: container engines kill ten seconds after SIGTERM."""
MAX_BODY = 100 << 20

_TLS = {
    "cert": "MODELYARD_TLS_CERT",
    "key": "MODELYARD_TLS_KEY",
    "client_ca": "MODELYARD_TLS_CLIENT_CA",
    "crl": "MODELYARD_TLS_CRL",
}
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
"""What numerical libraries ask for the number of their threads."""


def read_image(path: str, environment: Mapping[str, str]) -> Config:
    """How the image with this manifest is to serve.

    Raises:
        InvalidConfig: The manifest cannot be read, or a variable has an impossible value.
    """
    manifest = _json(path, "manifest")
    settings = _Settings(environment)
    host = settings.get("MODELYARD_HOST", str, ANYWHERE)
    host = f"[{host}]" if ":" in host else host
    port = settings.get("MODELYARD_PORT", _port, PORT)
    grpc_port = settings.get("MODELYARD_GRPC_PORT", _port, None)
    if grpc_port is not None and importlib.util.find_spec("grpc") is None:
        raise InvalidConfig("MODELYARD_GRPC_PORT is set, but the image has no package `grpcio`")
    folder = Path(path).absolute().parent
    try:
        return parse_config(
            {
                "listen": [f"{host}:{port}"],
                "grpc_listen": None if grpc_port is None else f"{host}:{grpc_port}",
                "workers": settings.get("MODELYARD_WORKERS", _count, None) or cpus.usable(),
                "code": str(folder / "code"),
                "script": manifest.get("script"),
                "models_root": str(folder / "models"),
                "models": manifest["models"],
                "service": settings.get("MODELYARD_SERVICE", str, _name(manifest)),
                "scoring_timeout": settings.get(
                    "MODELYARD_SCORING_TIMEOUT", _seconds, SCORING_TIMEOUT
                ),
                "drain_timeout": settings.get("MODELYARD_DRAIN_TIMEOUT", _seconds, DRAIN_TIMEOUT),
                "max_body": settings.get("MODELYARD_MAX_BODY", _count, MAX_BODY),
                "keys": settings.get("MODELYARD_KEYS_FILE", _keys, ()),
                "tls": settings.tls(),
            }
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidConfig(f"{path} and the environment are no configuration: {error}") from error


def share_processors(config: Config) -> None:
    """Have numerical libraries, loaded later, use the processors once and not once per worker."""
    threads = max(1, cpus.usable() // config.workers)
    for name in THREADS:
        os.environ.setdefault(name, str(threads))


class _Settings:
    """The variables; an empty one counts as not set."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def get(self, name: str, read: Callable[[str], Any], default: Any) -> Any:
        """What a variable says. Raises `InvalidConfig` with its name."""
        text = self._environment.get(name, "").strip()
        if not text:
            return default
        try:
            return read(text)
        except ValueError as error:
            raise InvalidConfig(f"{name} cannot be `{text}`: {error}") from None

    def tls(self) -> dict[str, str] | None:
        """Paths of the PEM files that are set."""
        paths = {key: self.get(name, str, None) for key, name in _TLS.items()}
        given = {key: path for key, path in paths.items() if path is not None}
        if given and not {"cert", "key"} <= given.keys():
            raise InvalidConfig("MODELYARD_TLS_CERT and MODELYARD_TLS_KEY need each other")
        return given or None


def _keys(path: str) -> Any:
    """What is in a file of keys; a file without any would let everybody in."""
    keys = _json(path, "list of keys")
    if not keys:
        raise ValueError("the file holds no key")
    return keys


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) <= 0xFFFF:
        raise ValueError("a port is a number from 1 to 65535")
    return int(text)


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise ValueError("a whole number above 0 is needed")
    return int(text)


def _seconds(text: str) -> float:
    if not 0 < float(text) < float("inf"):
        raise ValueError("a number of seconds above 0 is needed")
    return float(text)


def _name(manifest: Any) -> str:
    """What the service calls itself: as its first model."""
    models = manifest.get("models") or [{}]
    return str(models[0].get("name", "image"))


def _json(path: str, what: str) -> Any:
    try:
        return orjson.loads(Path(path).read_bytes())
    except OSError as error:
        raise InvalidConfig(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise InvalidConfig(f"{path} is no {what}: {error}") from error
