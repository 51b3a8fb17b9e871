"""Figures of quality as columns, for tables and pages."""

from __future__ import annotations

from modelyard.cli import output
from modelyard.domain.quality import Measured, Task

_NAMES = {
    Task.CLASSIFICATION: ("accuracy", "f1", "roc_auc", "log_loss"),
    Task.REGRESSION: ("mae", "rmse", "r2", "bias"),
    None: (),
}


def titles(task: Task | None) -> list[str]:
    """What the columns are called; a range follows the accuracy."""
    names = [name.upper().replace("_", " ") for name in _NAMES[task]]
    return [names[0], "95 %", *names[1:]] if task is Task.CLASSIFICATION else names


def cells(measured: Measured, task: Task | None) -> list[output.Cell]:
    """What stands in them."""
    figures: list[output.Cell] = [measured.figures.get(name) for name in _NAMES[task]]
    if task is not Task.CLASSIFICATION:
        return figures
    bounds = measured.accuracy_interval
    between = None if bounds is None else f"{bounds[0]:.3g}-{bounds[1]:.3g}"
    return [figures[0], between, *figures[1:]]
