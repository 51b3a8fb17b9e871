"""How models are recognised: by the real thing where it is here, else by bytes written by hand."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable

import joblib
import numpy as np
import pytest
import sklearn
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from modelyard.control.formats import Recognised, named_packages, recognise
from modelyard.domain.model import ModelFile, ModelFormat

MODEL = make_pipeline(StandardScaler(), LogisticRegression()).fit(np.eye(4), [0, 1, 0, 1])


def look(files: dict[str, bytes]) -> Recognised:
    contents = {f"sha256:{number:064x}": data for number, data in enumerate(files.values())}
    model_files = [
        ModelFile(path=path, digest=digest, size=len(data))
        for path, (digest, data) in zip(files, contents.items(), strict=True)
    ]
    return recognise(
        model_files, lambda digest, offset, length: contents[digest][offset : offset + length]
    )


def seen(files: dict[str, bytes]) -> tuple[ModelFormat, str | None]:
    found = look(files)
    return found.format, found.framework


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def zipped(*names: str, compression: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name in names:
            archive.writestr(name, b"content")
    return out.getvalue()


def dumped(dump: Callable[[object, io.BytesIO], object], value: object = MODEL) -> bytes:
    out = io.BytesIO()
    dump(value, out)
    return out.getvalue()


ONNX = field(1, 9) + field(2, b"skl2onnx") + field(7, b"graph") + field(8, b"") + field(8, b"x")
TENSORS = json.dumps(
    {"__metadata__": {"format": "pt"}, "w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}
).encode()
SAFETENSORS = len(TENSORS).to_bytes(8, "little") + TENSORS + b"\0\0\0\0"
XGBOOST = b'{"learner":{"attributes":{},"gradient_booster":{"model":{}}},"version":[3,0,0]}'
XGBOOST_BINARY = b"{L\0\0\0\0\0\0\0\7learner{L\0\0\0\0\0\0\0\nattributes{}}"
LIGHTGBM = b"tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\n"
MLMODEL = b"""artifact_path: model
flavors:
  python_function:
    env: conda.yaml
    loader_module: mlflow.sklearn
  sklearn:
    code: null
mlflow_version: 2.9
"""


@pytest.mark.parametrize(
    ("path", "data", "format", "framework"),
    [
        ("m.pkl", pickle.dumps(MODEL, 5), "pickle", "scikit-learn"),
        ("m", pickle.dumps(MODEL, 4), "pickle", "scikit-learn"),
        ("m.bin", pickle.dumps(MODEL, 2), "pickle", "scikit-learn"),
        ("m.pkl", pickle.dumps(MODEL, 0), "pickle", "scikit-learn"),
        ("m.pkl", pickle.dumps({"a": [1, 2]}), "pickle", None),
        ("m.pkl", pickle.dumps("a" * 100_000), "pickle", None),
        ("m.bin", dumped(joblib.dump), "joblib", "scikit-learn"),
        ("m.joblib", pickle.dumps(MODEL), "joblib", "scikit-learn"),
        ("m.joblib", dumped(joblib.dump, np.arange(100_000)), "joblib", None),
        ("m.bin", dumped(lambda m, f: joblib.dump(m, f, ("zlib", 3))), "joblib", "scikit-learn"),
        ("m.bin", gzip.compress(dumped(joblib.dump)), "joblib", "scikit-learn"),
        ("m.bin", bz2.compress(dumped(joblib.dump)), "joblib", "scikit-learn"),
        ("m.bin", lzma.compress(dumped(joblib.dump)), "joblib", "scikit-learn"),
        (
            "m.bin",
            lzma.compress(dumped(joblib.dump), format=lzma.FORMAT_ALONE),
            "joblib",
            "scikit-learn",
        ),
        ("m.joblib", b"\x04\x22\x4d\x18 packed", "joblib", None),
        ("m.bin", ONNX, "onnx", "scikit-learn"),
        ("m.onnx", field(1, 9) + field(7, b"g" * 200_000), "onnx", "onnx"),
        ("m.bin", SAFETENSORS, "safetensors", "pytorch"),
        ("m.pt", zipped("m/data.pkl", "m/code/__torch__.py"), "torchscript", "pytorch"),
        ("m.pt", zipped("m/data.pkl", "m/constants.pkl"), "torchscript", "pytorch"),
        ("m.pt", zipped("archive/data.pkl", "archive/data/0"), "pickle", "pytorch"),
        ("m.bin", zipped("m/archive_format", "m/models/model.json"), "torch_export", "pytorch"),
        ("m.bin", zipped("schema.json", "140.npy"), "skops", "scikit-learn"),
        ("m.json", XGBOOST, "xgboost", "xgboost"),
        ("m.ubj", XGBOOST_BINARY, "xgboost", "xgboost"),
        ("m.txt", LIGHTGBM, "lightgbm", "lightgbm"),
        ("m", zipped("metadata.json", "config.json", "model.weights.h5"), "keras", "keras"),
        ("m.h5", b"\x89HDF\r\n\x1a\n" + b"\0" * 900 + b"keras_version", "keras", "keras"),
        ("MLmodel", MLMODEL, "mlflow", "scikit-learn"),
        ("model/MLmodel", b"flavors:\n  mine:\n    a: 1\n", "mlflow", "mine"),
        ("MLmodel", b"\xff\n  flavors:", "mlflow", None),
    ],
)
def test_recognises(path: str, data: bytes, format: str, framework: str | None) -> None:
    assert seen({path: data}) == (ModelFormat(format), framework)


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("m.pkl", b""),
        ("m.pkl", b"just text"),
        ("notes.txt", b"(lp0\n."),
        ("m.json", b'{"learner": 1}'),
        ("m.json", b'["learner", "gradient_booster"]'),
        ("m.zip", zipped("a.txt")),
        ("m.npz", zipped("arr_0.npy")),
        ("m.gz", gzip.compress(b"text", mtime=0)),
        ("m.h5", b"\x89HDF\r\n\x1a\n" + b"\0" * 900),
        ("m.onnx", field(1, 9)),
        ("m.onnx", field(1, 9) + field(7, b"graph")[:-1]),
        ("m.onnx", field(1, 9) + field(7, b"graph") + field(9, 1)),
        ("m.safetensors", (1 << 62).to_bytes(8, "little") + b'{"dtype":1}'),
        ("deep/down/MLmodel", MLMODEL),
        ("lightgbm.txt", b"tree\nof life"),
    ],
)
def test_is_not_fooled(path: str, data: bytes) -> None:
    assert seen({path: data}) == (ModelFormat.CUSTOM, None)


def test_the_largest_file_that_is_recognised_decides() -> None:
    files = {
        "readme.md": b"x" * 5000,
        "small.pkl": pickle.dumps(MODEL),
        "large.onnx": field(1, 9) + field(7, b"g" * 4000),
    }
    assert seen(files) == (ModelFormat.ONNX, "onnx")


def test_an_mlflow_folder_is_one_whatever_is_inside() -> None:
    files = {"model.pkl": pickle.dumps(MODEL), "MLmodel": MLMODEL, "conda.yaml": b""}
    assert look(files).format is ModelFormat.MLFLOW


def test_a_saved_model_is_tensorflows() -> None:
    files = {"saved_model.pb": b"\x08\x01", "variables/variables.index": b"\0"}
    assert seen(files) == (ModelFormat.CUSTOM, "tensorflow")


def test_large_archives_have_another_directory() -> None:
    data = bytearray(zipped("m/data.pkl", "m/constants.pkl"))
    end = data.rfind(b"PK\x05\x06")
    length, offset = struct.unpack_from("<2L", data, end + 12)
    record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 2, 2, length, offset)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, end, 1)
    tail = bytearray(data[end:])
    struct.pack_into("<2L", tail, 12, 0xFFFFFFFF, 0xFFFFFFFF)
    assert seen({"m.pt": bytes(data[:end]) + record + locator + tail}) == (
        ModelFormat.TORCHSCRIPT,
        "pytorch",
    )


def test_nothing_is_loaded() -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return (pytest.fail, ("it was loaded",))

    for data in (pickle.dumps(Bomb()), zlib.compress(pickle.dumps(Bomb()))):
        assert look({"m.pkl": data}).format in (ModelFormat.PICKLE, ModelFormat.JOBLIB)


def test_packed_bombs_are_not_unpacked() -> None:
    bomb = pickle.dumps(b"\0" * 5_000_000)
    for pack in (zlib.compress, bz2.compress, lzma.compress):
        assert seen({"m.joblib": pack(bomb)}) == (ModelFormat.JOBLIB, None)


def test_a_dictionary_of_gigabytes_is_refused() -> None:
    header = b"\x5d" + (0xFFFFFFFF).to_bytes(4, "little") + b"\xff" * 8
    assert seen({"m.joblib": header + b"\0" * 100}) == (ModelFormat.CUSTOM, None)


PIECES = st.sampled_from(
    [
        b"\x80\x04\x95",
        b"\x80\x05",
        b"\x80\x02c",
        b"PK\x03\x04",
        b"PK\x01\x02",
        b"PK\x05\x06",
        b"PK\x06\x06",
        b"PK\x06\x07",
        b"\x89HDF\r\n\x1a\n",
        b"\x78\x9c",
        b"\x1f\x8b\x08",
        b"BZh9",
        b"\xfd7zXZ\x00",
        b"\x5d\x00\x00",
        b"\x08\x09",
        b"\x3a",
        b'{"learner":',
        b'{"__metadata__":',
        b"tree\n",
        b"\xff" * 9,
        b"\0" * 9,
        ONNX,
        SAFETENSORS,
        pickle.dumps(MODEL)[:300],
        zipped("m/data.pkl"),
        gzip.compress(pickle.dumps([1])),
    ]
)


@given(
    st.lists(PIECES | st.binary(max_size=40), max_size=6).map(b"".join),
    st.sampled_from(["m.pkl", "m.joblib", "m", "MLmodel", "m.onnx"]),
)
def test_hostile_bytes_are_survived(data: bytes, path: str) -> None:
    assert look({path: data}).format in ModelFormat


@given(st.data())
def test_damaged_models_are_survived(data: st.DataObject) -> None:
    whole = data.draw(
        st.sampled_from([ONNX, SAFETENSORS, zipped("m/data.pkl", "a"), pickle.dumps(MODEL)])
    )
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 5))):
        damaged[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)))
    assert look({"m.pkl": bytes(damaged[:cut])}).format in ModelFormat


class TestVersion:
    @pytest.mark.parametrize("protocol", [2, 3, 4, 5])
    def test_is_what_every_estimator_keeps(self, protocol: int) -> None:
        assert look({"m.pkl": pickle.dumps(MODEL, protocol)}).version == sklearn.__version__

    def test_is_found_in_what_joblib_packed(self) -> None:
        out = io.BytesIO()
        joblib.dump(MODEL, out, compress=3)
        assert look({"m.joblib": out.getvalue()}).version == sklearn.__version__

    def test_is_found_at_the_end_of_a_large_file(self) -> None:
        large = LogisticRegression().fit(np.eye(2), [0, 1])
        large.ballast = np.zeros(100_000)
        assert look({"m.pkl": pickle.dumps(large)}).version == sklearn.__version__

    def test_is_unknown_where_nothing_says_it(self) -> None:
        assert look({"m.pkl": pickle.dumps({"_sklearn_version": "new"})}).version is None


def test_the_modules_that_a_pickle_names() -> None:
    data = pickle.dumps(MODEL)
    files = [ModelFile(path="m.pkl", digest=f"sha256:{0:064x}", size=len(data))]
    named = named_packages(files, lambda digest, offset, length: data[offset : offset + length])
    assert "sklearn.linear_model._logistic" in named
