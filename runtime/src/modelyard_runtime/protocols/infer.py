"""An inference request, as REST and gRPC of the Open Inference Protocol share it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelyard_runtime.http import HttpError
from modelyard_runtime.tensors import Tensor

MOST_TENSORS = 1024
"""Inputs, and requested outputs, of one request."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """An output that the client asks for."""

    name: str
    binary: bool


@dataclass(frozen=True, slots=True)
class Inference:
    """One request, read and checked."""

    id: str
    """Empty when the client gave none."""
    parameters: Mapping[str, Any]
    inputs: Sequence[Tensor]
    outputs: Sequence[Wanted]
    """Empty for all there are."""
    binary: bool
    """How outputs go out when the client names none."""

    def choose(self, results: Sequence[Tensor]) -> list[tuple[Tensor, bool]]:
        """The outputs to send, and whether as binary data.

        Raises:
            HttpError: 400, one is asked for that there is not.
        """
        if not self.outputs:
            return [(tensor, self.binary) for tensor in results]
        found = {tensor.name: tensor for tensor in results}
        check_outputs(self.outputs, found)
        return [(found[wanted.name], wanted.binary) for wanted in self.outputs]


def check_outputs(outputs: Sequence[Wanted], known: Mapping[str, Any] | Sequence[str]) -> None:
    """Refuse a request for an output that there is not.

    Raises:
        HttpError: 400
    """
    for wanted in outputs:
        if wanted.name not in known:
            there = ", ".join(f"`{name}`" for name in list(known)[:20])
            raise HttpError(400, f"Output `{wanted.name[:60]}`: there is none; there is {there}.")


def check_names(kind: str, names: Sequence[str]) -> None:
    """Refuse too many names, and the same one twice.

    Raises:
        HttpError: 400
    """
    if len(names) > MOST_TENSORS:
        raise HttpError(400, f"The request has more than {MOST_TENSORS} {kind}s.")
    if len(set(names)) < len(names):
        twice = next(name for at, name in enumerate(names) if name in names[:at])
        raise HttpError(400, f"The {kind} `{twice[:60]}` is there twice.")
