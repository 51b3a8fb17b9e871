"""The signature of a `run` with `@rawhttp`: it gets the request, whatever it is."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from modelyard_runtime.compat.request import AMLRequest
from modelyard_runtime.http.messages import HttpError, Request
from modelyard_runtime.request_headers import PARAMETER
from modelyard_runtime.signature import Arguments, Table
from modelyard_runtime.signatures.answers import UNKNOWN, AnySignature
from modelyard_runtime.tensors import Tensor

_ONLY_SCORE = "This service reads requests itself: it takes them at /score only."


class RawSignature(AnySignature):
    """The first parameter of `run` gets an `AMLRequest`."""

    takes_options = True

    def __init__(self, run: Callable[..., Any]) -> None:
        names = [name for name in inspect.signature(run).parameters if name != PARAMETER]
        self._parameter = names[0]
        self.input_schema = UNKNOWN
        self.output_schema = UNKNOWN

    def from_request(self, request: Request) -> Arguments:
        """The request itself."""
        return {self._parameter: AMLRequest(request)}

    def from_tensors(self, tensors: Sequence[Tensor], parameters: Mapping[str, Any]) -> Arguments:
        """Refused: the script reads HTTP."""
        raise HttpError(400, _ONLY_SCORE)

    def from_table(self, table: Table, parameters: Mapping[str, Any]) -> Arguments:
        """Refused: the script reads HTTP."""
        raise HttpError(400, _ONLY_SCORE)
