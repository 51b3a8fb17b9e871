"""Runs the search for a faster form of a model: in the image's environment, watched like a check.

Called by `builder.ImageBuilder.optimize`. Loading the model runs whatever it holds, so what comes
back is read as a stranger's: plain files of limited size, and a report that is checked.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import psutil
from pydantic import JsonValue, ValidationError

from modelyard.domain.image import LayerKind, Manifest
from modelyard.domain.optimization import Optimization
from modelyard.domain.service import Network
from modelyard.images import foreign_file
from modelyard.images.launch import replica_config, runtime_command
from modelyard.images.sandbox.cell import Cell, KernelLimits
from modelyard.images.sandbox.choosing import host_sandbox
from modelyard.images.trial import Trial, trial_folder
from modelyard.images.watch import Limits, Watch
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
        cell = _cell(layers, folder, settings)
        trial = _start(manifest, cell, sample)
        try:
            deadline = time.monotonic() + settings.check_timeout
            Watch(trial, deadline, Limits.of(settings), _PURPOSE, log).until_ready()
        finally:
            trial.end()
            for line in trial.output():
                log(line, _PURPOSE)
        return _read_all(cell.outside.scratch)


def _start(manifest: Manifest, cell: Cell, sample: JsonValue) -> Trial:
    inside = cell.inside
    command, environment = runtime_command(manifest, inside.layers, _CPU, {}, inside.scratch)
    config = replica_config(
        manifest,
        inside.layers,
        service=_PURPOSE,
        workers=1,
        scoring_timeout=1.0,
        drain_timeout=1.0,
    )
    config |= {"sample": sample, "out": str(inside.scratch), "cores": psutil.cpu_count() or 1}
    return Trial(cell, [*command[:-1], _PROGRAM], environment, config)


def _cell(layers: Mapping[LayerKind, Path], folder: Path, settings: Settings) -> Cell:
    sandbox = host_sandbox(settings.sandbox)
    limits = KernelLimits.of(settings.check_memory, workers=1)
    return Cell(sandbox, folder, layers, Network.NONE, limits)


def _read_all(out: Path) -> Conversion:
    try:
        report = Optimization.model_validate_json(foreign_file.read(out / _REPORT, _LARGEST_REPORT))
        if report.kept is None:
            return Conversion(report, None)
        return Conversion(
            report, {name: foreign_file.read(out / name, _LARGEST_FILE) for name in _FILES}
        )
    except (OSError, ValidationError) as error:
        said = error.strerror if isinstance(error, OSError) else "the report cannot be read"
        return Conversion(Optimization(problem=f"the search left nothing behind: {said}"), None)
