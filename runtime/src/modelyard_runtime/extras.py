"""Brings in what needs packages that only some images have: gRPC, OpenTelemetry.

The first is imported before the workers are forked, so that they share it and a lack of it is a
cause like any other.
"""

from __future__ import annotations

import importlib
import os
import socket
import sys
from types import ModuleType
from typing import TYPE_CHECKING

from modelyard_runtime import causes
from modelyard_runtime.causes import Scene, StartFailed
from modelyard_runtime.config import Config, InvalidConfig
from modelyard_runtime.otel import wanted
from modelyard_runtime.slots import Slots

if TYPE_CHECKING:
    from modelyard_runtime.otel.sending import Telemetry

_GRPC = "modelyard_runtime.grpc_server"


def load_grpc(config: Config, scene: Scene) -> ModuleType | None:
    """The module that serves gRPC, if this replica is to.

    Raises:
        StartFailed: The image lacks its packages.
    """
    if config.grpc_fd is None:
        return None
    try:
        return importlib.import_module(_GRPC)
    except ImportError as error:
        cause = causes.package_missing(error, scene) or causes.import_failed(error, scene)
        raise StartFailed(cause) from error


def load_otel(config: Config, slots: Slots, worker: int) -> Telemetry | None:
    """What sends telemetry, if the environment has a receiver for it and the image the packages.

    Scoring does not depend on it: a lack is told in the log, and all else goes on.
    """
    signals = wanted(os.environ)
    if not signals:
        return None
    try:
        sending = importlib.import_module("modelyard_runtime.otel.sending")
        telemetry: Telemetry = sending.Telemetry(signals, config.service, slots, worker)
    except ImportError as error:
        sys.stderr.write(
            f"modelyard: OpenTelemetry is asked for, and the image lacks a package of it: {error}; "
            "add modelyard-runtime[otel] to its requirements\n"
        )
        return None
    return telemetry


def check_grpc(config: Config) -> None:
    """See that gRPC can be served as the configuration says.

    Raises:
        InvalidConfig: Its socket does not hold an address for several listeners, or the
            certificates that are wanted of clients cannot be checked as HTTP does.
        OSError: It is no socket.
    """
    if config.grpc_fd is None:
        return
    if config.tls is not None and config.tls.crl is not None:
        raise InvalidConfig("gRPC cannot check `crl`: leave out that or `grpc_fd`")
    with socket.fromfd(config.grpc_fd, socket.AF_INET, socket.SOCK_STREAM) as holder:
        shared = holder.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)
        listening = holder.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        domain = holder.getsockopt(socket.SOL_SOCKET, socket.SO_DOMAIN)
    if not shared or listening or domain not in (socket.AF_INET, socket.AF_INET6):
        raise InvalidConfig(
            "`grpc_fd` must be a TCP socket that is bound with SO_REUSEPORT and does not listen"
        )
