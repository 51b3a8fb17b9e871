"""A `run` with one parameter: the whole body is its value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modelyard_runtime.http.server import HttpError, Request
from modelyard_runtime.signature import Arguments, Table
from modelyard_runtime.signatures.answers import Answers, AnySignature
from modelyard_runtime.signatures.bodies import body_of, read_json
from modelyard_runtime.signatures.named import BLANKS, members_of
from modelyard_runtime.signatures.values import Value
from modelyard_runtime.signatures.wording import unfit
from modelyard_runtime.tensors import Tensor


class BodySignature(AnySignature):
    """The body is the value of the parameter, or an object that has nothing but that.

    The latter only for values that are never objects themselves: there is no doubt which it is.
    """

    def __init__(self, parameter: str, value: Value, answers: Answers) -> None:
        self._parameter = parameter
        self._value = value
        self._parse = value.parse
        self._enveloped = value.enveloped
        self.inputs = value.specs(parameter)
        self.input_schema = value.schema
        self.output_schema = answers.schema
        self.outputs = answers.specs

    def from_request(self, request: Request) -> Arguments:
        """The value that the body or query holds."""
        body = request.body if request.method == "POST" else body_of(request)
        name = self._parameter
        if self._enveloped and body.lstrip(BLANKS).startswith(b"{"):
            return {name: self._opened(body)}
        return {name: self._parse(name, body)}

    def from_tensors(self, tensors: Sequence[Tensor], parameters: Mapping[str, Any]) -> Arguments:
        """All tensors are for the parameter."""
        return {self._parameter: self._value.from_tensors(self._parameter, tensors)}

    def from_table(self, table: Table, parameters: Mapping[str, Any]) -> Arguments:
        """The table is for the parameter."""
        return {self._parameter: self._value.from_table(self._parameter, table)}

    def _opened(self, body: bytes) -> Any:
        name = self._parameter
        members = members_of(body, [name])
        if name not in members:
            raise unfit(name, f"is missing; send the value itself, or an object with `{name}`")
        if len(members) > 1:
            unknown = next(member for member in members if member != name)
            raise unfit(unknown[:60], f"is not known; the body may have `{name}`")
        try:
            return self._parse(name, members[name])
        except HttpError as error:
            if error.status == 400:
                read_json(body)  # tells where in the body instead of where in the member
            raise
