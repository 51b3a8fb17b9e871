"""Parameters annotated with pydantic models. Imported only where a script uses some."""

from __future__ import annotations

from typing import Any

import pydantic

from modelyard_runtime.http.server import HttpError
from modelyard_runtime.signatures.bodies import Text, read_json
from modelyard_runtime.signatures.shapes import OBJECT, RECORDS, VALUE, Shape
from modelyard_runtime.signatures.values import Value
from modelyard_runtime.signatures.wording import at, unfit


class ModelValue(Value):
    """What pydantic validates, by the rules of the models."""

    def __init__(self, annotation: Any) -> None:
        self._adapter = pydantic.TypeAdapter(annotation)
        self.schema = self._adapter.json_schema(ref_template="#/$defs/{model}")
        self.shape = _shape(self.schema)
        self.enveloped = not self.shape.may_be_object

    def parse(self, name: str, text: Text) -> Any:
        """From the bytes, once they are known to be JSON: pydantic takes NaN and more."""
        read_json(text)
        try:
            return self._adapter.validate_json(bytes(memoryview(text)))
        except pydantic.ValidationError as error:
            raise _misfit(name, error) from None

    def build(self, name: str, value: Any) -> Any:
        """The same rules for values that are parsed already."""
        try:
            return self._adapter.validate_python(value)
        except pydantic.ValidationError as error:
            raise _misfit(name, error) from None


def has_models(annotation: Any) -> bool:
    """Whether a class of an annotation, at any depth, is a pydantic model."""
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        return True
    return any(has_models(part) for part in getattr(annotation, "__args__", ()))


def _misfit(name: str, error: pydantic.ValidationError) -> HttpError:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    problem = first["msg"][:1].lower() + first["msg"][1:]
    if first["type"] == "missing":
        problem = "is missing"
    return unfit(at(name, first["loc"]), problem)


def _shape(schema: dict[str, Any]) -> Shape:
    if schema.get("type") != "array":
        return Shape(OBJECT if schema.get("type") == "object" or "$ref" in schema else VALUE)
    return Shape(RECORDS if "$ref" in schema.get("items", {}) else VALUE, may_be_object=False)
