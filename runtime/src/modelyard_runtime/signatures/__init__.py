"""Tells from the parameters of a script's `run` what it takes; one module for each kind."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from modelyard_runtime.signature import Signature
from modelyard_runtime.signatures.body import BodySignature
from modelyard_runtime.signatures.hints import hints_of
from modelyard_runtime.signatures.schemas import schema_of
from modelyard_runtime.signatures.text import UNKNOWN, BytesSignature, TextSignature
from modelyard_runtime.signatures.values import AnyValue


def choose(run: Callable[..., Any], parameters: Mapping[str, inspect.Parameter]) -> Signature:
    """The signature for a script's `run`; `parameters` are those that requests fill."""
    name = next(iter(parameters))
    hints = hints_of(run)
    annotation = hints.get(name, str)
    answer = schema_of(hints.get("return")) or UNKNOWN
    if annotation is str:
        return TextSignature(name, answer)
    if annotation is bytes:
        return BytesSignature(name, answer)
    return BodySignature(name, AnyValue(schema_of(annotation) or UNKNOWN), answer)
