"""What an annotation says of a value's outline: rows, members, numbers in so many dimensions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec.inspect as mi

from modelyard_runtime.tensors import TensorSpec

VALUE, OBJECT, RECORDS = "value", "object", "records"

_DATATYPES: dict[Any, str] = {
    mi.BoolType: "BOOL",
    mi.IntType: "INT64",
    mi.FloatType: "FP64",
    mi.StrType: "BYTES",
}
_LISTS = (mi.ListType, mi.VarTupleType)
_OBJECTS = (mi.StructType, mi.DataclassType, mi.TypedDictType, mi.DictType)
_NEVER_OBJECTS = (
    *(*_DATATYPES, *_LISTS, mi.TupleType, mi.NamedTupleType, mi.SetType, mi.FrozenSetType),
    *(mi.NoneType, mi.BytesType, mi.DateTimeType, mi.DateType, mi.TimeType, mi.UUIDType),
    *(mi.EnumType, mi.LiteralType, mi.DecimalType, mi.TimeDeltaType),
)


@dataclass(frozen=True, slots=True)
class Shape:
    """The outline of the values of one annotation."""

    kind: str = VALUE
    """`records` for a list of objects, `object` for one, `value` for all else."""
    may_be_object: bool = True
    """A JSON object may be such a value."""
    columns: tuple[TensorSpec, ...] = ()
    """For records: a tensor for each column, if each is of plain values."""
    datatype: str = ""
    """For a plain value, or lists in lists of one: its datatype."""
    dimensions: int = 0

    @property
    def is_scalar(self) -> bool:
        """It is one plain value."""
        return bool(self.datatype) and not self.dimensions

    @classmethod
    def of(cls, annotation: Any) -> Shape:
        """The outline of an annotation that msgspec knows."""
        told = mi.type_info(annotation)
        if isinstance(told, _OBJECTS):
            return cls(OBJECT)
        if isinstance(told, _LISTS) and isinstance(told.item_type, _OBJECTS):
            return cls(RECORDS, False, _columns(told.item_type))
        depth, inner = 0, told
        while isinstance(inner, _LISTS):
            depth, inner = depth + 1, inner.item_type
        return cls(VALUE, _may_be_object(told), (), _DATATYPES.get(type(inner), ""), depth)

    def specs(self, name: str) -> tuple[TensorSpec, ...]:
        """The tensors that hold such a value; none where they cannot be told."""
        if self.kind == RECORDS:
            return self.columns
        if not self.datatype:
            return ()
        return (TensorSpec(name, self.datatype, (-1,) * self.dimensions or (1,)),)


def _may_be_object(told: mi.Type) -> bool:
    if isinstance(told, mi.UnionType):
        return any(_may_be_object(part) for part in told.types)
    if isinstance(told, mi.Metadata):
        return _may_be_object(told.type)
    return not isinstance(told, _NEVER_OBJECTS)


def _columns(told: Any) -> tuple[TensorSpec, ...]:
    fields = getattr(told, "fields", ())
    known = [_DATATYPES.get(type(field.type), "") for field in fields]
    if not all(known):
        return ()
    return tuple(
        TensorSpec(field.encode_name, datatype, (-1,))
        for field, datatype in zip(fields, known, strict=True)
    )
