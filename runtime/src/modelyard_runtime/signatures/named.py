"""A `run` with several parameters: the body is a JSON object with a member for each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from modelyard_runtime.http.server import HttpError, Request
from modelyard_runtime.signature import Arguments, Table
from modelyard_runtime.signatures.answers import Answers, AnySignature
from modelyard_runtime.signatures.bodies import Text, body_of, decode, read_json
from modelyard_runtime.signatures.schemas import schema_of_members
from modelyard_runtime.signatures.values import Value
from modelyard_runtime.signatures.wording import kind_of, unfit
from modelyard_runtime.tensors import Tensor, TensorSpec

BLANKS = b" \t\r\n"
"""What JSON may have before its first character."""

_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def members_of(body: bytes, names: Iterable[str]) -> dict[str, msgspec.Raw]:
    """The members of a JSON object, each still as JSON. Of a key that comes twice the last counts.

    Raises:
        HttpError: 400 for what is not JSON, 422 for JSON that is no object.
    """
    try:
        return decode(_members, body)
    except (msgspec.ValidationError, RecursionError):
        value = read_json(body)
        members = ", ".join(f"`{name}`" for name in names)
        found = "" if isinstance(value, dict) else f", got {kind_of(value)}"
        raise HttpError(422, f"Expected an object with {members}{found}.") from None


class NamedSignature(AnySignature):
    """Every parameter is a member of an object, a tensor, or a parameter of the request.

    Where all but the first have defaults and the first is never an object, its value may be the
    body, too.

    Args:
        values: What each parameter takes.
        required: The parameters that have no default.
        answers: What is known of the results.
    """

    def __init__(
        self, values: Mapping[str, Value], required: frozenset[str], answers: Answers
    ) -> None:
        self._values = dict(values)
        self._required = required
        self._first = next(iter(values))
        self._takes_first = self._values[self._first].enveloped and required <= {self._first}
        self.inputs = _inputs(values)
        self.input_schema = schema_of_members(
            {name: value.schema for name, value in values.items()}, required
        )
        self.output_schema = answers.schema
        self.outputs = answers.specs

    def from_request(self, request: Request) -> Arguments:
        """A value for each member of the body, or field of the query."""
        body = body_of(request)
        if self._takes_first and not body.lstrip(BLANKS).startswith(b"{"):
            return {self._first: self._values[self._first].parse(self._first, body)}
        members = members_of(body, self._values)
        try:
            return self._arguments(members)
        except HttpError as error:
            if error.status == 400:
                read_json(body)  # tells where in the body instead of where in the member
            raise

    def from_tensors(self, tensors: Sequence[Tensor], parameters: Mapping[str, Any]) -> Arguments:
        """Tensors by the names of parameters; all others together are for the first one."""
        arguments: Arguments = {}
        others = [tensor for tensor in tensors if tensor.name not in self._values]
        if others:
            arguments[self._first] = self._values[self._first].from_tensors(self._first, others)
        for tensor in tensors:
            name = tensor.name
            if name in arguments:
                raise unfit(others[0].name[:60], f"is not known beside `{name}`")
            if name in self._values:
                arguments[name] = self._values[name].from_tensors(name, [tensor])
        return self._completed(arguments, parameters)

    def from_table(self, table: Table, parameters: Mapping[str, Any]) -> Arguments:
        """The table is for the first parameter."""
        value = self._values[self._first].from_table(self._first, table)
        return self._completed({self._first: value}, parameters)

    def _completed(self, arguments: Arguments, parameters: Mapping[str, Any]) -> Arguments:
        """With the parameters of the request for those of `run` that have nothing yet."""
        for name, value in parameters.items():
            if name in self._values and name not in arguments:
                arguments[name] = self._values[name].build(name, value)
        self._check(arguments)
        return arguments

    def _arguments(self, members: Mapping[str, Text]) -> Arguments:
        unknown = members.keys() - self._values.keys()
        if unknown:
            known = ", ".join(f"`{name}`" for name in self._values)
            raise unfit(sorted(unknown)[0][:60], f"is not known; the body may have {known}")
        self._check(members)
        return {name: self._values[name].parse(name, text) for name, text in members.items()}

    def _check(self, given: Mapping[str, Any]) -> None:
        missing = self._required - given.keys()
        if missing:
            first = next(name for name in self._values if name in missing)
            raise unfit(first, "is missing")


def _inputs(values: Mapping[str, Value]) -> tuple[TensorSpec, ...]:
    """A tensor for each parameter, for the first perhaps several; none if names clash."""
    specs = tuple(spec for name, value in values.items() for spec in value.specs(name))
    return specs if len({spec.name for spec in specs}) == len(specs) else ()
