"""Recognises how a model is written, from names and first bytes. Nothing is ever loaded.

Called by `control.models` at registration. Files are hostile: every look is bounded.
"""

from __future__ import annotations

import bz2
import lzma
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import PurePosixPath
from typing import NamedTuple

from modelyard.control import zip_names
from modelyard.control.pickles import scan
from modelyard.domain.model import ModelFile, ModelFormat

ReadRange = Callable[[str, int, int], bytes]
"""Bytes of a blob: digest, offset, length."""

_LOOK = 64 << 10
_MOST_FILES = 64
_MOST_FIELDS = 256
_LZMA_MEMORY = 64 << 20

_FRAMEWORKS = {
    "sklearn": "scikit-learn",
    "imblearn": "imbalanced-learn",
    "xgboost": "xgboost",
    "lightgbm": "lightgbm",
    "catboost": "catboost",
    "torch": "pytorch",
    "torchvision": "pytorch",
    "keras": "keras",
    "tensorflow": "tensorflow",
    "statsmodels": "statsmodels",
    "prophet": "prophet",
    "spacy": "spacy",
    "transformers": "transformers",
    "skl2onnx": "scikit-learn",
    "pytorch": "pytorch",
    "tf2onnx": "tensorflow",
    "h2o": "h2o",
}
_TENSORS = {b"pt": "pytorch", b"tf": "tensorflow", b"flax": "flax", b"mlx": "mlx"}
_TENSORS_FORMAT = re.compile(rb'"format"\s*:\s*"(pt|tf|flax|mlx)"')
_PICKLE_NAMES = (".pkl", ".pickle", ".p", ".joblib")
_JOBLIB_NAMES = (".joblib", ".joblib.lz4", ".pkl.lz4", ".lz4")
_SKLEARN_VERSION = re.compile(rb"(?s)_sklearn_version.{1,12}?(\d{1,2}\.\d{1,3}(?:\.\d{1,3})?)")
_LZ4 = b"\x04\x22\x4d\x18"
_HDF5 = b"\x89HDF\r\n\x1a\n"
_KERAS_MARKS = (b"keras_version", b"model_config", b"layer_names", b"model_weights")
_ONNX_FIELDS = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 14, 20, 25, 26})


class Recognised(NamedTuple):
    """What the files look like."""

    format: ModelFormat
    framework: str | None = None
    """What probably trained it, or null when nothing says so."""
    version: str | None = None
    """The version of the framework that saved it, where the file says so."""


def recognise(files: Sequence[ModelFile], read: ReadRange) -> Recognised:
    """The format of a model made of these files; `custom` when nothing is known of them.

    Of several files the largest that is recognised decides; an MLflow description goes first.
    """
    for file in files:
        if _is_mlflow(file.path):
            return Recognised(ModelFormat.MLFLOW, _mlflow_framework(_Content(file, read)))
    largest = sorted(files, key=lambda file: (-file.size, file.path))[:_MOST_FILES]
    found = (_recognise_file(_Content(file, read)) for file in largest)
    return next((one for one in found if one is not None), _unrecognised(files))


def named_packages(files: Sequence[ModelFile], read: ReadRange) -> list[str]:
    """The modules that the pickles among the files name, as far as a bounded look shows them."""
    largest = sorted(files, key=lambda file: (-file.size, file.path))[:_MOST_FILES]
    found: list[str] = []
    for file in largest:
        head = _Content(file, read).head
        found += scan.modules(_decompress(head) or head) or ()
    return found


def _unrecognised(files: Sequence[ModelFile]) -> Recognised:
    saved = any(PurePosixPath(file.path).name == "saved_model.pb" for file in files)
    return Recognised(ModelFormat.CUSTOM, "tensorflow" if saved else None)


class _Content:
    """One file, read as far as somebody looks."""

    def __init__(self, file: ModelFile, read: ReadRange) -> None:
        self.name = file.path.lower()
        self.size = file.size
        self._digest = file.digest
        self._read = read

    @cached_property
    def head(self) -> bytes:
        return self.read(0, _LOOK)

    @cached_property
    def tail(self) -> bytes:
        return self.read(max(0, self.size - _LOOK), _LOOK)

    def read(self, offset: int, length: int) -> bytes:
        if offset >= self.size or length <= 0:
            return b""
        return self._read(self._digest, offset, min(length, self.size - offset))


def _recognise_file(content: _Content) -> Recognised | None:
    found = (look(content) for look in _LOOKS)
    return next((one for one in found if one is not None), None)


def _is_mlflow(path: str) -> bool:
    parts = path.split("/")
    return parts[-1] == "MLmodel" and len(parts) <= 2


def _mlflow_framework(content: _Content) -> str | None:
    """The first flavour that is not the general one, read as lines: no YAML of strangers."""
    inside = False
    for line in content.head.decode("utf-8", "replace").split("\n"):
        if not line.startswith(" "):
            inside = line.startswith("flavors:")
            continue
        flavour = re.match(r"^  (\w{1,64}):", line)
        if inside and flavour and flavour[1] != "python_function":
            return _FRAMEWORKS.get(flavour[1], flavour[1])
    return None


def _zip(content: _Content) -> Recognised | None:
    if not content.head.startswith(zip_names.MAGIC):
        return None
    names = zip_names.names(content.size, content.read)
    members = {name.partition("/")[2] or name for name in names}
    if "constants.pkl" in members or any(name.startswith("code/") for name in members):
        return Recognised(ModelFormat.TORCHSCRIPT, "pytorch")
    if "data.pkl" in members:
        return Recognised(ModelFormat.PICKLE, "pytorch")
    if "archive_format" in members and any(name.startswith("models/") for name in members):
        return Recognised(ModelFormat.TORCH_EXPORT, "pytorch")
    if "schema.json" in names:
        return Recognised(ModelFormat.SKOPS, "scikit-learn")
    if {"config.json", "metadata.json", "model.weights.h5"} <= set(names):
        return Recognised(ModelFormat.KERAS, "keras")
    return None


def _hdf5(content: _Content) -> Recognised | None:
    if not content.head.startswith(_HDF5):
        return None
    if any(mark in content.head or mark in content.tail for mark in _KERAS_MARKS):
        return Recognised(ModelFormat.KERAS, "keras")
    return None


def _safetensors(content: _Content) -> Recognised | None:
    head = content.head
    length = int.from_bytes(head[:8], "little")
    header = head[8 : 8 + length]
    if len(head) < 10 or length > content.size - 8 or not header.startswith(b"{"):
        return None
    if b'"dtype"' not in header and b'"__metadata__"' not in header:
        return None
    framework = _TENSORS_FORMAT.search(header)
    return Recognised(ModelFormat.SAFETENSORS, _TENSORS[framework[1]] if framework else None)


def _xgboost(content: _Content) -> Recognised | None:
    head = content.head
    text = (
        head.lstrip()[:1] == b"{"
        and b'"learner"' in head
        and b'"gradient_booster"' in (head + content.tail)
    )
    binary = head.startswith(b"{") and b"learner" in head[:64] and b'"' not in head[:64]
    if text or binary or head.startswith(b"binf"):
        return Recognised(ModelFormat.XGBOOST, "xgboost")
    return None


def _lightgbm(content: _Content) -> Recognised | None:
    lines = content.head[:4096].splitlines()
    if lines[:1] == [b"tree"] and any(line.startswith(b"num_class=") for line in lines):
        return Recognised(ModelFormat.LIGHTGBM, "lightgbm")
    return None


def _pickle(content: _Content) -> Recognised | None:
    # Before protocol 2 nothing marks a pickle, and much text looks like one: the name must agree.
    if scan.has_header(content.head) or content.name.endswith(_PICKLE_NAMES):
        found = _pickled(content.head, joblib=content.name.endswith(_JOBLIB_NAMES))
        if found is not None and found.framework == "scikit-learn":
            return found._replace(version=_sklearn_version(content.head, content.tail))
        return found
    return None


def _compressed(content: _Content) -> Recognised | None:
    data = _decompress(content.head)
    if data and scan.has_header(data):
        found = _pickled(data, joblib=True)
        if found is not None and found.framework == "scikit-learn":
            return found._replace(version=_sklearn_version(data))
        return found
    if content.head.startswith(_LZ4) and content.name.endswith(_JOBLIB_NAMES):
        return Recognised(ModelFormat.JOBLIB)
    return None


def _pickled(data: bytes, *, joblib: bool) -> Recognised | None:
    modules = scan.modules(data)
    if modules is None:
        return None
    packages = [module.partition(".")[0] for module in modules]
    framework = next((_FRAMEWORKS[name] for name in packages if name in _FRAMEWORKS), None)
    joblib = joblib or "joblib" in packages
    return Recognised(ModelFormat.JOBLIB if joblib else ModelFormat.PICKLE, framework)


def _sklearn_version(*parts: bytes) -> str | None:
    """The version that every estimator of scikit-learn keeps in its state."""
    found = next((match for part in parts if (match := _SKLEARN_VERSION.search(part))), None)
    return found[1].decode("ascii") if found else None


def _decompress(data: bytes) -> bytes | None:
    """The first bytes of what a codec of joblib's packed; None when it was none of them."""
    try:
        if data.startswith(b"\x1f\x8b") or (data[:1] == b"\x78" and _is_zlib(data)):
            return zlib.decompressobj(wbits=47).decompress(data, _LOOK)
        if data.startswith(b"BZh"):
            return bz2.BZ2Decompressor().decompress(data, _LOOK)
        if data.startswith((b"\xfd7zXZ\x00", b"\x5d\x00\x00")):
            return lzma.LZMADecompressor(memlimit=_LZMA_MEMORY).decompress(data, _LOOK)
    except (zlib.error, OSError, EOFError, lzma.LZMAError):
        return None
    return None


def _is_zlib(data: bytes) -> bool:
    return int.from_bytes(data[:2], "big") % 31 == 0


def _onnx(content: _Content) -> Recognised | None:
    """A protobuf message whose fields are those of an ONNX model, up to the end of the file."""
    seen: dict[int, bytes] = {}
    for number, value in _fields(content):
        if number not in _ONNX_FIELDS:
            return None
        seen.setdefault(number, value)
    if not {1, 7} <= seen.keys():
        return None
    producer = seen.get(2, b"").decode("utf-8", "replace").lower()
    return Recognised(ModelFormat.ONNX, _FRAMEWORKS.get(producer, "onnx"))


def _fields(content: _Content) -> Iterator[tuple[int, bytes]]:
    """Number and first bytes of the fields of a message; number 0 for what is none."""
    place = 0
    for _ in range(_MOST_FIELDS):
        if place >= content.size:
            return
        header = content.read(place, 20)
        tag, after = _varint(header, 0)
        value, end = _varint(header, after)
        kind = tag & 7
        if kind not in (0, 2) or end == 0:
            yield 0, b""
            return
        if kind == 0:
            yield tag >> 3, b""
            place += end
        elif place + end + value > content.size:
            yield 0, b""
            return
        else:
            yield tag >> 3, content.read(place + end, min(value, 64))
            place += end + value


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """The number and where it ends; an end of 0 when there is none."""
    value = 0
    for index, byte in enumerate(data[place : place + 10]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, place + index + 1
    return 0, 0


_LOOKS: tuple[Callable[[_Content], Recognised | None], ...] = (
    _zip,
    _hdf5,
    _safetensors,
    _xgboost,
    _lightgbm,
    _compressed,
    _pickle,
    _onnx,
)
