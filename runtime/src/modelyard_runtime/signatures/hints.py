"""The annotations of a function, where need be one by one: one may make no sense here."""

from __future__ import annotations

import functools
import types
import typing
from collections.abc import Callable
from typing import Any


def hints_of(run: Callable[..., Any]) -> dict[str, Any]:
    """What parameters and the result (`return`) are annotated with; `Any` if that is unknown."""
    function = function_of(run)
    try:
        return typing.get_type_hints(function, include_extras=True)
    except Exception:
        scope = getattr(function, "__globals__", {})
        annotations = getattr(function, "__annotations__", {})
        return {name: _evaluated(given, scope) for name, given in annotations.items()}


def function_of(run: Callable[..., Any]) -> Callable[..., Any]:
    """The function that a callable ends in: that of a partial one, or an object's `__call__`."""
    while isinstance(run, functools.partial):
        run = run.func
    if isinstance(run, types.FunctionType | types.MethodType):
        return run
    return type(run).__call__


def _evaluated(annotation: Any, scope: dict[str, Any]) -> Any:
    holder = types.SimpleNamespace(__annotations__={"it": annotation})
    try:
        return typing.get_type_hints(holder, scope, include_extras=True)["it"]
    except Exception:
        return Any
