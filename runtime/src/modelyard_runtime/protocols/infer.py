"""What REST and gRPC of the Open Inference Protocol share: the model, and a request to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelyard_runtime.config import Config
from modelyard_runtime.entry import Entry
from modelyard_runtime.http.server import HttpError
from modelyard_runtime.tensors import Tensor, TensorSpec

MOST_TENSORS = 1024
"""Inputs, and requested outputs, of one request."""


@dataclass(frozen=True, slots=True)
class ServedModel:
    """The one model of a replica, by the name that clients of this protocol use."""

    name: str
    versions: tuple[str, ...]
    platform: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    @classmethod
    def of(cls, entry: Entry, config: Config) -> ServedModel:
        """The model that an entry serves."""
        name = entry.model_name or config.service
        signature = entry.signature
        return cls(name, entry.model_versions, entry.platform, signature.inputs, signature.outputs)

    def answering(self, version: str = "") -> dict[str, str]:
        """What an answer says of the model; without a version asked for, the last one answers."""
        answered = version or (self.versions[-1] if self.versions else "")
        named = {"model_name": self.name}
        return named | {"model_version": answered} if answered else named

    def expect(self, name: str, version: str) -> None:
        """Refuse a request to another model, or to a version that there is not.

        Raises:
            HttpError: 404
        """
        if name != self.name:
            raise HttpError(404, f"The model here is `{self.name}`.")
        if version and version not in self.versions:
            there = ", ".join(self.versions) or "none"
            raise HttpError(404, f"The versions of the model `{name}` here are: {there}.")


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
    version: str = ""
    """Of the model, when the request itself asks for one."""

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
    """Refuse too many names, one that is empty, and the same one twice.

    Raises:
        HttpError: 400
    """
    if len(names) > MOST_TENSORS:
        raise HttpError(400, f"The request has more than {MOST_TENSORS} {kind}s.")
    if "" in names:
        raise HttpError(400, f"Every {kind} needs a `name`.")
    if len(set(names)) < len(names):
        twice = next(name for at, name in enumerate(names) if name in names[:at])
        raise HttpError(400, f"The {kind} `{twice[:60]}` is there twice.")
