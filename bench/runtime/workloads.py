"""What is asked of the servers: inputs, right answers, and how many connections ask."""

from __future__ import annotations

import json
import math
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from bench.runtime.environments import HERE, cache, python

CONNECTIONS = 64
_TOLERANCE = 1e-4
"""Relative and absolute; the MLP computes in single precision."""


@dataclass(frozen=True)
class Workload:
    """One model and one request to it."""

    name: str
    title: str
    connections: tuple[int, ...] = (CONNECTIONS,)

    @cached_property
    def rows(self) -> list[list[float]]:
        """The request; none in W4."""
        return self._case["rows"]

    @cached_property
    def tensor(self) -> bytes:
        """The request of W4: float32, little-endian."""
        return (models_folder() / "W4.bin").read_bytes()

    def is_right(self, answer: Any) -> bool:
        """Whether an answer has the expected numbers, in whatever nesting."""
        numbers, expected = list(_numbers(answer)), self._case["expected"]
        return len(numbers) == len(expected) and all(
            math.isclose(number, right, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
            for number, right in zip(numbers, expected, strict=True)
        )

    @cached_property
    def _case(self) -> dict[str, Any]:
        return json.loads((models_folder() / f"{self.name}.json").read_bytes())


TENSOR_SHAPE = (256, 1024)
WORKLOADS = (
    Workload("W1", "one iris row, scikit-learn logistic regression"),
    Workload("W2", "one row, ONNX MLP 64-256-256-10"),
    Workload("W3", "256x64 floats as JSON, the same MLP"),
    Workload("W4", "1 MiB binary tensor, mean"),
    Workload("W5", "one row, forest of 300 trees", (1, 16, 64, 256)),
)


def models_folder() -> Path:
    """Where `make_models` puts everything."""
    return cache() / "models"


def make_models() -> None:
    """Make the models, inputs and answers, unless they are there."""
    program = HERE / "programs" / "models.py"
    mark, made_by = models_folder() / "made-by.py", program.read_text()
    if mark.exists() and mark.read_text() == made_by:
        return
    models_folder().mkdir(parents=True, exist_ok=True)
    subprocess.run([python("floor"), str(program), str(models_folder())], check=True)
    mark.write_text(made_by)


def _numbers(answer: Any) -> Any:
    if isinstance(answer, dict):
        answer = list(answer.values())
    if isinstance(answer, list):
        for item in answer:
            yield from _numbers(item)
    else:
        yield float(answer)
