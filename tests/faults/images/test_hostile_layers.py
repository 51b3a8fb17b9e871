"""Archives made to do harm: refused as a whole, with nothing written outside and nothing left."""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from modelyard.errors import IntegrityError
from modelyard.images.layers import LayerCache
from modelyard.images.tar import BLOCK, END, Member, header, padding

Change = Callable[[tarfile.TarInfo], None]


def typed(kind: bytes, target: str = "/etc/passwd") -> Change:
    def change(info: tarfile.TarInfo) -> None:
        info.type = kind
        info.linkname = target
        info.size = 0

    return change


def aligned(data: bytes) -> bytes:
    return data + padding(len(data))


def forged(path: str, size: int, content: bytes) -> bytes:
    return header(Member(path, size)) + content


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "file").write_text("untouched")
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> LayerCache:
    return LayerCache(tmp_path / "layers")


def refuse(cache: LayerCache, parts: Iterable[bytes], reason: str) -> None:
    data = b"".join(parts)
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    with pytest.raises(IntegrityError, match=reason):
        cache.unpack(digest, [data])
    assert cache.path(digest) is None


@pytest.fixture(autouse=True)
def nothing_outside_and_nothing_left(outside: Path, tmp_path: Path) -> Iterable[None]:
    yield
    assert (outside / "file").read_text() == "untouched"
    assert [path.name for path in outside.iterdir()] == ["file"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["layers", "outside"]
    assert list((tmp_path / "layers" / ".staging").iterdir()) == []
    assert [path.name for path in (tmp_path / "layers").iterdir()] == [".staging"]


@pytest.mark.parametrize(
    "kind",
    [
        tarfile.SYMTYPE,
        tarfile.LNKTYPE,
        tarfile.CHRTYPE,
        tarfile.BLKTYPE,
        tarfile.FIFOTYPE,
        tarfile.CONTTYPE,
        tarfile.GNUTYPE_SPARSE,
        tarfile.GNUTYPE_LONGNAME,
        tarfile.XGLTYPE,
        b"V",
        b"\0",
    ],
)
def test_members_that_are_no_files(cache: LayerCache, kind: bytes) -> None:
    info = tarfile.TarInfo("x")
    typed(kind)(info)
    refuse(cache, [info.tobuf(tarfile.USTAR_FORMAT), END], "neither a regular file nor a folder")


def test_a_link_and_then_a_file_behind_it(cache: LayerCache, outside: Path) -> None:
    link = tarfile.TarInfo("door")
    typed(tarfile.SYMTYPE, str(outside))(link)
    parts = [link.tobuf(tarfile.USTAR_FORMAT), header(Member("door/file", 1)), b"x" + padding(1)]
    refuse(cache, [*parts, END], "neither a regular file nor a folder")


@pytest.mark.parametrize(
    "path", ["../outside/file", "../../outside/file", "a/../../outside/file", "{outside}/file"]
)
def test_names_that_lead_outside(cache: LayerCache, outside: Path, path: str) -> None:
    name = path.format(outside=outside)
    refuse(cache, [header(Member(name, 1)), b"x" + padding(1), END], "not an acceptable path")


def test_a_folder_that_leads_outside(cache: LayerCache) -> None:
    refuse(cache, [header(Member("../evil", folder=True)), END], "not an acceptable path")


@pytest.mark.parametrize("path", ["{outside}/file", "../outside/file"])
def test_a_harmless_name_with_a_harmful_extended_one(
    cache: LayerCache, outside: Path, path: str
) -> None:
    info = tarfile.TarInfo("harmless")
    info.pax_headers = {"path": path.format(outside=outside)}
    refuse(cache, [info.tobuf(tarfile.PAX_FORMAT), END], "not an acceptable path")


@pytest.mark.parametrize("key", ["GNU.sparse.map", "linkpath", "SCHILY.xattr.user.x", "mtime"])
def test_extended_headers_that_mean_more(cache: LayerCache, key: str) -> None:
    info = tarfile.TarInfo("x")
    info.pax_headers = {key: "1"}
    refuse(cache, [info.tobuf(tarfile.PAX_FORMAT), END], "which is not accepted")


@pytest.mark.parametrize("size", ["-1", "1e3", "\u0669", "9" * 30, ""])
def test_extended_sizes_that_lie(cache: LayerCache, size: str) -> None:
    info = tarfile.TarInfo("x")
    info.pax_headers = {"size": size}
    refuse(cache, [info.tobuf(tarfile.PAX_FORMAT), END], "impossible size")


def test_a_size_beyond_the_end(cache: LayerCache) -> None:
    refuse(cache, [forged("x", 1 << 30, b"short"), END], "in the middle of a member")


def test_a_size_below_the_content(cache: LayerCache) -> None:
    refuse(cache, [forged("x", 1, b"longer".ljust(BLOCK, b"\0")), END], "padding")


def test_a_folder_with_content(cache: LayerCache) -> None:
    block = bytearray(header(Member("x", 5)))
    block[156:157] = tarfile.DIRTYPE
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    refuse(cache, [bytes(block), aligned(b"12345"), END], "impossible size")


def test_numbers_that_are_not_octal(cache: LayerCache) -> None:
    block = bytearray(header(Member("x", 5)))
    block[124:136] = b"\x80" + b"\xff" * 11
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    refuse(cache, [bytes(block), END], "not octal")


def test_an_extended_header_without_end(cache: LayerCache) -> None:
    info = tarfile.TarInfo("x")
    info.pax_headers = {"path": "a" * 100_000}
    refuse(cache, [info.tobuf(tarfile.PAX_FORMAT), END], "extended header is too long")


def test_a_name_too_long_for_a_file_system(cache: LayerCache) -> None:
    refuse(cache, [header(Member("a" * 300, 0)), END], "not an acceptable path")
    deep = "/".join(["a" * 100] * 11)
    refuse(cache, [header(Member(deep, 0)), END], "not an acceptable path")


def test_a_million_members(cache: LayerCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelyard.images.tar.MAX_MEMBERS", 1000)
    blocks = (header(Member(f"f{number}")) for number in range(1001))
    refuse(cache, [*blocks, END], "more than 1000 files")


def test_one_name_twice(cache: LayerCache) -> None:
    first, second = header(Member("a", 0)), header(Member("A", 0))
    refuse(cache, [first, second, END], "there twice")


def test_other_archive_formats(cache: LayerCache) -> None:
    info = tarfile.TarInfo("x")
    refuse(cache, [info.tobuf(tarfile.GNU_FORMAT), END], "not USTAR")
    refuse(cache, [os.urandom(BLOCK * 4)], "not USTAR")
    refuse(cache, [b""], "in the middle")
