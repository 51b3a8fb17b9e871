"""What a replica serves: a scoring script's `run`, or a model's own prediction, ready to call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from modelyard_runtime.causes import Scene
from modelyard_runtime.signature import Batching, Signature


@dataclass(frozen=True, slots=True)
class Entry:
    """A loaded script or model. Loaded before the fork; the same in every worker."""

    run: Callable[..., Any]
    """Called with the arguments that the signature makes, by name."""
    signature: Signature
    scene: Scene
    """Where the script's files are, for tracebacks."""
    takes_headers: bool = False
    """`run` has a parameter `request_headers`."""
    is_async: bool = False
    """`run` is a coroutine function or an asynchronous generator function."""
    streams: bool = False
    """`run` is a generator function, or an asynchronous one: its answer goes out in parts."""
    batching: Batching | None = None
    """How requests are scored together; None where that is not known to be safe."""
    model_name: str = ""
    """Name that the Open Inference Protocol calls it by; empty: the service's name."""
    model_versions: tuple[str, ...] = ()
    platform: str = "python_script"
    """What the Open Inference Protocol calls the kind of model, as `<project>_<format>`."""
