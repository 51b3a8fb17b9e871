"""What pickles would import, held against what loading them does import."""

from __future__ import annotations

import bz2
import collections
import gzip
import io
import itertools
import lzma
import pickle
import pickletools
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import joblib
import joblib.numpy_pickle
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from modelyard.control.pickles import machine
from modelyard.control.pickles import scan as scanning
from modelyard.control.pickles.scan import scan
from modelyard.domain.model import Imports, ModelFile

PIPELINE = make_pipeline(StandardScaler(), RandomForestClassifier(3, random_state=0)).fit(
    [[0.0, 1.0], [1.0, 0.0]] * 5, ["yes", "no"] * 5
)
VALUES = [
    PIPELINE,
    {"when": datetime(2026, 1, 1, tzinfo=UTC), "what": collections.OrderedDict(a=range(3))},
    np.array([{"a": Path("b")}, None, 1.5], dtype=object),
    np.array([("x", 1.0)], dtype=[("name", "U5"), ("value", "f8")]),
    [np.arange(100_000), "text" * 1000, b"bytes" * 1000, 10**400, {1, 2}, frozenset("ab")],
]
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "zlib": zlib.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
}


def look(**files: bytes) -> Imports | None:
    """What is said of these files; an underscore in a name stands for a dot."""
    named = {name.replace("_", "."): content for name, content in files.items()}
    listed = [
        ModelFile(path=name, digest=f"sha256:{0:064}", size=len(content))
        for name, content in named.items()
    ]
    contents = {f"{number}": content for number, content in enumerate(named.values())}
    listed = [
        file.model_copy(update={"digest": number})
        for file, number in zip(listed, contents, strict=True)
    ]
    return scan(listed, lambda digest, offset, length: contents[digest][offset : offset + length])


def names(data: bytes, name: str = "model_pkl") -> set[str]:
    found = look(**{name: data})
    assert found is not None
    assert found.complete
    return set(found.names)


def imported(data: bytes) -> set[str]:
    """What loading imports; of our own data only."""
    seen: set[str] = set()

    class Watched(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            seen.add(f"{module}.{name}")
            return super().find_class(module, name)

    Watched(io.BytesIO(data)).load()
    return seen


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
def test_pickles_name_what_loading_them_imports(value: object, protocol: int) -> None:
    data = pickle.dumps(value, protocol)
    # Loading a protocol below 3 maps some names to those of Python 3 first.
    expected = imported(data) if protocol > 2 else {name for name, *_ in _globals(data)}
    assert names(data) == expected
    assert names(pickletools.optimize(data)) == expected


def _globals(data: bytes) -> Iterator[tuple[str]]:
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name == "GLOBAL":
            yield (str(argument).replace(" ", "."),)


@pytest.mark.parametrize("compress", [0, ("zlib", 3), ("gzip", 3), ("bz2", 3), ("xz", 3)])
@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
def test_joblib_writes_arrays_between_the_opcodes(
    value: object, compress: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[str] = set()

    def find(unpickler: Any, module: str, name: str) -> Any:
        seen.add(f"{module}.{name}")
        return super(joblib.numpy_pickle.NumpyUnpickler, unpickler).find_class(module, name)

    path = tmp_path / "model.joblib"
    joblib.dump(value, path, compress=compress)
    monkeypatch.setattr(joblib.numpy_pickle.NumpyUnpickler, "find_class", find, raising=False)
    joblib.load(path)
    found = names(path.read_bytes(), "model_joblib")
    # An array of objects is loaded by another unpickler, which is not watched.
    # An array of objects is loaded by another unpickler, which is not watched.
    inside = imported(pickle.dumps(value, 2)) if value is VALUES[2] else set()
    assert seen <= found <= seen | inside


class Evil:
    """Its pickle calls `os.system`; the test fails if it is ever loaded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (_system, ("touch /tmp/owned",))


def _system(command: str) -> None:
    raise AssertionError(f"loaded: {command}")


EVIL = pickle.dumps(Evil())
NAME = f"{__name__}._system"


class TestWhereTheyAre:
    @pytest.mark.parametrize("packer", PACKERS)
    def test_packed(self, packer: str) -> None:
        assert NAME in names(PACKERS[packer](EVIL), "model_bin")

    @pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
    def test_members_of_archives(self, method: int) -> None:
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", method) as archive:
            archive.writestr("archive/data/0", b"\0" * 1000)
            archive.writestr("archive/data.pkl", EVIL)
        assert NAME in names(stream.getvalue(), "model_pt")

    def test_several_in_one_file(self) -> None:
        data = pickle.dumps(1) + pickle.dumps([2]) + EVIL + b"raw bytes"
        assert NAME in names(data, "model_pt")

    def test_beside_other_files(self) -> None:
        found = look(large_bin=b"x" * 10_000, small_pkl=EVIL)
        assert found is not None
        assert NAME in found.names

    @pytest.mark.parametrize("data", [b"", b"{}", b"text", b"\x80", b"\x80\x99abc", b"cos\n"])
    def test_nowhere(self, data: bytes) -> None:
        assert look(model_bin=data) is None

    def test_a_codec_that_is_not_there_is_said(self) -> None:
        assert look(model_joblib=b"\x04\x22\x4d\x18" + b"x" * 20) == Imports(
            names=(), complete=False
        )


def short(text: str) -> bytes:
    return b"\x8c" + bytes([len(text)]) + text.encode()


class TestHostile:
    """Names that are hidden, and bytes that want time or memory."""

    @pytest.mark.parametrize(
        ("opcodes", "name"),
        [
            (b"cos\nsystem\n.", "os.system"),
            (b"(ios\nsystem\n.", "os.system"),
            (short("os") + short("system") + b"\x93.", "os.system"),
            # the module from the memo, the name twice, something in between
            (short("os") + b"\x940h\x00" + short("system") + b"2" + b"0\x93.", "os.system"),
            # taken out of a tuple: known only when it is loaded
            (b"N" + short("system") + b"\x93.", "?.system"),
            (b"\x82\x01.", "copyreg.extension 1"),
            (b"c" + b"a" * 5000 + b"\nb\n.", "?.?"),
            (b"cos\x1b[2J\nx\n.", "os\\x1b[2J.x"),
        ],
    )
    def test_names_are_found_however_they_are_made(self, opcodes: bytes, name: str) -> None:
        assert name in names(b"\x80\x04" + opcodes)

    @pytest.mark.parametrize("cut", [10, 40, -1])
    def test_what_is_cut_off_is_said_to_be_incomplete(self, cut: int) -> None:
        found = look(model_pkl=EVIL[:cut])
        assert found is not None
        assert not found.complete

    def test_what_was_found_before_the_damage_is_shown(self) -> None:
        found = look(model_pkl=EVIL[:-1] + b"\xff")
        assert found is not None
        assert NAME in found.names
        assert not found.complete

    def test_a_pickle_that_loads_for_ever_takes_no_time(self) -> None:
        """Tuples of tuples of tuples: 2^60 of them are hashed when it is loaded."""
        data = b"\x80\x04)" + b"2\x86" * 60 + b"}" + b"2" * 2 + b"."
        assert look(model_pkl=data) is not None

    @pytest.mark.parametrize(
        "opcodes",
        [
            b"X\xff\xff\xff\xffa",
            b"\x8e" + struct.pack("<Q", 1 << 62),
            b"\x8a\xff" + b"\xff" * 255,
            b"(" * 2_000_000,
            b"]" * 2_000_000,
            b"a\n" * 1000,
            b"0",
            b"t",
            b"R",
            b"\x93",
            b"I" + b"1" * 10_000_000,
        ],
    )
    def test_lengths_are_not_believed_and_opcodes_are_counted(self, opcodes: bytes) -> None:
        found = look(model_pkl=b"\x80\x04" + opcodes)
        assert found == Imports(names=(), complete=False)

    def test_more_names_than_are_kept(self) -> None:
        data = b"".join(b"cm\nn%d\n0" % number for number in range(5000))
        found = look(model_pkl=b"\x80\x04" + data + b"N.")
        assert found is not None
        assert (len(found.names), found.complete) == (1000, False)

    @pytest.mark.parametrize("packer", PACKERS)
    def test_bombs_are_given_up(self, packer: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Zeros inside a byte string, packed into next to nothing."""
        monkeypatch.setattr(scanning, "_MOST_BYTES", 32 << 20)
        size = 33 << 20
        head = b"\x80\x04\x8e" + struct.pack("<Q", size * 4)
        bomb = PACKERS[packer](head + b"\0" * size)
        tracemalloc.start()
        found = look(model_pkl=bomb)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert found == Imports(names=(), complete=False)
        assert peak < 12 << 20

    def test_texts_are_forgotten_when_they_are_many(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(machine, "_MOST_TEXT", 1 << 20)
        data = b"\x80\x04(" + (short("x" * 250) + b"\x94") * 50_000 + b"t."
        tracemalloc.start()
        assert names(data) == set()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 8 << 20

    @given(st.binary(max_size=300))
    def test_no_bytes_do_harm(self, data: bytes) -> None:
        for head, name in itertools.product((b"", b"\x80\x04"), ("model_pkl", "model_joblib")):
            look(**{name: head + data})

    @given(st.binary(max_size=50), st.integers(0, 1000))
    def test_no_damage_does_harm(self, noise: bytes, place: int) -> None:
        look(model_joblib=_JOBLIB[:place] + noise + _JOBLIB[place:])


def _joblib() -> bytes:
    stream = io.BytesIO()
    joblib.dump({"a": np.arange(10), "b": np.array([None], dtype=object)}, stream)
    return stream.getvalue()


_JOBLIB = _joblib()
