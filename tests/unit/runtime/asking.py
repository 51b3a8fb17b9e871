"""Asks the signature of a script as the protocols do."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from modelyard_runtime import signatures
from modelyard_runtime.http.server import Headers, HttpError, Request
from modelyard_runtime.signature import Arguments, Signature, Table
from modelyard_runtime.tensors import Tensor


def signature_of(run: Callable[..., Any], sample: Any = None) -> Signature:
    return signatures.signature_of(run, dict(inspect.signature(run).parameters), sample)


def post(run: Callable[..., Any], body: bytes) -> Arguments:
    return signature_of(run).from_request(Request("POST", "/score", "", Headers([]), body))


def get(run: Callable[..., Any], query: str) -> Arguments:
    return signature_of(run).from_request(Request("GET", "/score", query, Headers([]), b""))


def tensors(run: Callable[..., Any], *given: Tensor, **parameters: Any) -> Arguments:
    return signature_of(run).from_tensors(given, parameters)


def table(
    run: Callable[..., Any], columns: tuple[str, ...] | None, rows: list[Any], **parameters: Any
) -> Arguments:
    return signature_of(run).from_table(Table(columns, rows), parameters)


def refusal(ask: Callable[..., Any], *given: Any, **parameters: Any) -> tuple[int, str]:
    with pytest.raises(HttpError) as refused:
        ask(*given, **parameters)
    return refused.value.status, refused.value.message


def numbers(name: str, *values: float, shape: tuple[int, ...] = ()) -> Tensor:
    return Tensor(name, "FP64", shape or (len(values),), list(values))


def texts(name: str, *values: str | bytes) -> Tensor:
    return Tensor(name, "BYTES", (len(values),), list(values))
