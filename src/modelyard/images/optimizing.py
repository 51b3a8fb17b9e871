"""Runs the search for a faster form of a model: in the image's environment, watched like a check.

Called by `builder.ImageBuilder.optimize`. Loading the model runs whatever it holds, so what comes
back is read as a stranger's: plain files of limited size, and a report that is checked.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import psutil
from pydantic import JsonValue, ValidationError

from modelyard.domain.image import LayerKind, Manifest
from modelyard.domain.optimization import Optimization
from modelyard.images.launch import replica_config, runtime_command
from modelyard.images.trial import Trial, scratch_of, trial_folder
from modelyard.images.watch import Watch
from modelyard.settings import Settings

_PURPOSE = "search"
_PROGRAM = "modelyard_runtime.optimizing"
_CPU = 1.0
"""As the replicas of a service get it by default, so that the model is timed as it would run."""
_REPORT = "report.json"
_FILES = ("model.onnx", "interface.json")
_LARGEST_REPORT = 1 << 20
_LARGEST_FILE = 1 << 30


class Conversion(NamedTuple):
    """What came of a search."""

    optimization: Optimization
    files: Mapping[str, bytes] | None
    """The files of the form that is kept, by name; None when none is."""


def convert(
    manifest: Manifest,
    layers: Mapping[LayerKind, Path],
    sample: JsonValue,
    settings: Settings,
    log: Callable[[str, str], None],
) -> Conversion:
    """Look for a faster form of the model of an image that has no script.

    Args:
        manifest: The image, whose environment has the converters.
        layers: Folder of every unpacked layer.
        sample: A scoring request, or None.
        settings: Limits on time and memory.
        log: Takes a line of output and its source.

    Raises:
        BuildFailed: The search failed, ended or passed a limit; `details["cause"]` says why.
    """
    with trial_folder() as folder:
        out = folder / "out"
        out.mkdir()
        trial = _start(manifest, layers, sample, folder, out)
        try:
            deadline = time.monotonic() + settings.check_timeout
            Watch(trial, deadline, settings, _PURPOSE, log).until_ready()
        finally:
            trial.end()
            for line in trial.output():
                log(line, _PURPOSE)
        return _read_all(out)


def _start(
    manifest: Manifest,
    layers: Mapping[LayerKind, Path],
    sample: JsonValue,
    folder: Path,
    out: Path,
) -> Trial:
    command, environment = runtime_command(manifest, layers, _CPU, {}, scratch_of(folder))
    config = replica_config(
        manifest,
        layers,
        service=_PURPOSE,
        workers=1,
        scoring_timeout=1.0,
        drain_timeout=1.0,
    )
    config |= {"sample": sample, "out": str(out), "cores": psutil.cpu_count() or 1}
    return Trial(folder, [*command[:-1], _PROGRAM], environment, config)


def _read_all(out: Path) -> Conversion:
    try:
        report = Optimization.model_validate_json(_read(out / _REPORT, _LARGEST_REPORT))
        if report.kept is None:
            return Conversion(report, None)
        return Conversion(report, {name: _read(out / name, _LARGEST_FILE) for name in _FILES})
    except (OSError, ValidationError) as error:
        said = error.strerror if isinstance(error, OSError) else "the report cannot be read"
        return Conversion(Optimization(problem=f"the search left nothing behind: {said}"), None)


def _read(path: Path, most: int) -> bytes:
    """A plain file of limited size.

    Raises:
        OSError: It is none.
    """
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_size > most:
            raise OSError(0, f"`{path.name}` is no file of at most {most} bytes")
        return file.read(most)
