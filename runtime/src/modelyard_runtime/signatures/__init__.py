"""Tells from the parameters of a script's `run` what it takes; one module for each kind."""

from __future__ import annotations

import importlib
import inspect
import sys
import typing
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from modelyard_runtime.script import BatchMark, mark_of
from modelyard_runtime.signature import Batching, Signature
from modelyard_runtime.signatures.answers import Answers
from modelyard_runtime.signatures.batches import ListBatching
from modelyard_runtime.signatures.body import BodySignature
from modelyard_runtime.signatures.hints import hints_of
from modelyard_runtime.signatures.named import NamedSignature
from modelyard_runtime.signatures.text import BytesSignature, TextSignature
from modelyard_runtime.signatures.values import AnyValue, PlainValue, TypedValue, Value

Parameters = Mapping[str, inspect.Parameter]

_EMPTY = inspect.Parameter.empty
_ANYTHING = (Any, object, _EMPTY)
_PLAIN: dict[Any, type[list[Any]] | type[dict[str, Any]]] = {
    list: list,
    dict: dict,
    typing.List: list,  # noqa: UP006 - scripts of that age write it so
    typing.Dict: dict,  # noqa: UP006
}


class Unreadable(Exception):
    """No request can be made into such a parameter; the message goes on from `score.py …`."""


def signature_of(run: Callable[..., Any], parameters: Parameters, sample: Any = None) -> Signature:
    """What a script's `run` takes and gives.

    Args:
        run: The function.
        parameters: Its parameters, but for `request_headers`.
        sample: A body that it scores, if one is known.

    Raises:
        Unreadable: A parameter is annotated with what cannot come from JSON.
    """
    hints = hints_of(run)
    answers = _answers_of(hints.get("return", Any))
    if _is_raw(parameters, hints):
        first = next(iter(parameters))
        kind = BytesSignature if hints.get(first) is bytes else TextSignature
        return kind(first, answers)
    values = {
        name: _value_of(name, hints.get(name, Any), _sample_of(name, sample)) for name in parameters
    }
    if len(values) == 1:
        ((name, value),) = values.items()
        return BodySignature(name, value, answers)
    required = frozenset(name for name, one in parameters.items() if one.default is _EMPTY)
    return NamedSignature(values, required, answers)


def batching_of(run: Callable[..., Any], parameters: Parameters) -> Batching | None:
    """How rows of several requests are scored together; None for a `run` that is not `@batchable`.

    Raises:
        Unreadable: Its first parameter has no rows.
    """
    mark = mark_of(run)
    if mark is None:
        return None
    hints = hints_of(run)
    name = next(iter(parameters))
    annotation = hints.get(name, Any)
    made = _batching(name, annotation, mark)
    if made is None:
        raise Unreadable(
            f"has a `@batchable` run whose first parameter `{name}` is annotated neither as a "
            f"list, nor as a numpy array, nor as a pandas data frame"
        )
    return made


def _batching(name: str, annotation: Any, mark: BatchMark) -> Batching | None:
    if annotation in _PLAIN or typing.get_origin(annotation) is list:
        return ListBatching(name, mark) if _PLAIN.get(annotation) is not dict else None
    if _is_array(annotation):
        return _import("array_batches").ArrayBatching(name, mark)  # type: ignore[no-any-return]
    if _is_frame(annotation):
        return _import("frame_batches").FrameBatching(name, mark)  # type: ignore[no-any-return]
    return None


def _answers_of(annotation: Any) -> Answers:
    return Answers.of_arrays() if _is_array(annotation) else Answers.of(annotation)


def _is_raw(parameters: Parameters, hints: Mapping[str, Any]) -> bool:
    """The first parameter gets the body as it comes; the others nothing."""
    first, *others = parameters.values()
    if hints.get(first.name, str) not in (str, bytes):
        return False
    return all(one.default is not _EMPTY and one.annotation is _EMPTY for one in others)


def _value_of(name: str, annotation: Any, sample: Any) -> Value:
    if annotation in _ANYTHING:
        return AnyValue()
    if annotation in _PLAIN:
        return PlainValue(_PLAIN[annotation])
    if _is_array(annotation):
        return _import("array_value").ArrayValue(annotation, sample)  # type: ignore[no-any-return]
    if _is_frame(annotation):
        return _import("frame_value").FrameValue()  # type: ignore[no-any-return]
    if "pydantic" in sys.modules and _import("models").has_models(annotation):
        return _import("models").ModelValue(annotation)  # type: ignore[no-any-return]
    try:
        return TypedValue(annotation)
    except (TypeError, NotImplementedError) as error:
        problem = str(error).rpartition("\n")[2]  # the line that names the type
        raise Unreadable(
            f"has a `run` whose parameter `{name}` cannot be made from JSON: {problem}"
        ) from error


def _sample_of(name: str, sample: Any) -> Any:
    return sample[name] if isinstance(sample, dict) and name in sample else sample


def _is_array(annotation: Any) -> bool:
    return _is_of("numpy", "ndarray", annotation)


def _is_frame(annotation: Any) -> bool:
    return _is_of("pandas", "DataFrame", annotation)


def _is_of(package: str, name: str, annotation: Any) -> bool:
    """Whether it is a class of a package, which is imported if an annotation names it."""
    module = sys.modules.get(package)
    wanted = getattr(module, name, None)
    return wanted is not None and wanted in (annotation, typing.get_origin(annotation))


def _import(name: str) -> ModuleType:
    """A module of this package that needs one of the image's own packages."""
    return importlib.import_module(f"{__name__}.{name}")
