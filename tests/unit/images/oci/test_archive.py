"""Archives that carry images."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from modelyard.errors import IntegrityError, InvalidRequest, ModelyardError, NotFound
from modelyard.images.oci.archive import ArchiveFiles, FolderFiles, files_at


def archive(
    tmp_path: Path, *members: tarfile.TarInfo | str, form: int = tarfile.PAX_FORMAT
) -> Path:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", format=form) as file:
        for member in members:
            info = tarfile.TarInfo(member) if isinstance(member, str) else member
            body = b"" if info.type != tarfile.REGTYPE else info.name.encode()
            info.size = len(body)
            file.addfile(info, io.BytesIO(body))
    return path


def entry(name: str, **fields: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(info, field, value)
    return info


LONG = "d" * 90 + "/" + "f" * 150


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_finds_files(tmp_path: Path, form: int) -> None:
    folder = entry("blobs/", type=tarfile.DIRTYPE)
    long = LONG if form != tarfile.USTAR_FORMAT else "d" * 90 + "/" + "f" * 90
    files = files_at(archive(tmp_path, folder, "blobs/a", "./index.json", long, form=form))
    assert set(files.names()) == {"blobs/a", "index.json", long}
    assert b"".join(files.open("blobs/a")) == b"blobs/a"
    assert files.size(long) == len(long)
    with pytest.raises(NotFound):
        files.size("blobs")


@pytest.mark.parametrize(
    "member",
    [
        entry("a", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        entry("a", type=tarfile.LNKTYPE, linkname="b"),
        entry("a", type=tarfile.CHRTYPE),
        entry("a", type=tarfile.BLKTYPE),
        entry("a", type=tarfile.FIFOTYPE),
        "/etc/passwd",
        "../a",
        "a/../b",
        "a//b",
        "a\\b",
        "a\nb",
        "",
        entry("../folder", type=tarfile.DIRTYPE),
    ],
)
@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_refuses_what_could_do_harm(
    tmp_path: Path, member: tarfile.TarInfo | str, form: int
) -> None:
    with pytest.raises(IntegrityError):
        files_at(archive(tmp_path, member, form=form))


@pytest.mark.parametrize(("one", "two"), [("a", "a"), ("a", "A"), ("./a", "a"), ("ß", "SS")])
def test_refuses_names_that_collide(tmp_path: Path, one: str, two: str) -> None:
    with pytest.raises(IntegrityError, match="twice"):
        files_at(archive(tmp_path, one, two))


def test_refuses_a_million_files_before_it_knows_them_all(tmp_path: Path) -> None:
    reads = 0
    block = archive(tmp_path, "a").read_bytes()[:1024]

    def read(offset: int, length: int) -> object:
        nonlocal reads
        reads += 1
        header = entry(f"f{offset}").tobuf(tarfile.USTAR_FORMAT)
        return iter([header[:length]])

    with pytest.raises(IntegrityError, match="more than 10000"):
        ArchiveFiles("it", 10**6 * len(block), read)  # type: ignore[arg-type]
    assert reads <= 10_001


def damaged(change: Callable[[bytearray], None]) -> Callable[[bytes], bytes]:
    def damage(data: bytes) -> bytes:
        changed = bytearray(data)
        change(changed)
        return bytes(changed)

    return damage


def sized(text: bytes) -> Callable[[bytes], bytes]:
    """A header that says another size, with the checksum that goes with it."""

    def change(data: bytearray) -> None:
        data[124:136] = text.ljust(12, b"\0")
        data[148:156] = b" " * 8
        data[148:156] = b"%06o\0 " % sum(data[:512])

    return damaged(change)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: b"no tar" * 200,
        lambda data: data[:512],
        lambda data: data[:700],
        lambda data: b"\x1f\x8b" + data,
        damaged(lambda data: data.__setitem__(5, 65)),
        sized(b"77777777777"),
        sized(b"-1"),
        sized(b"9z"),
        sized(b"\x80" + b"\xff" * 11),
        sized(b"\xff" * 12),
    ],
)
def test_refuses_what_is_damaged(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path = archive(tmp_path, "a")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises((IntegrityError, InvalidRequest)):
        files_at(path)


@pytest.mark.parametrize("key", ["size", "GNU.sparse.size", "GNU.sparse.map"])
def test_refuses_a_second_size(tmp_path: Path, key: str) -> None:
    path = archive(tmp_path, entry("a", pax_headers={key: "99999999"}))
    with pytest.raises(IntegrityError, match="two sizes"):
        files_at(path)


def test_refuses_one_path_for_all(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", pax_headers={"path": "x"}) as file:
        file.addfile(tarfile.TarInfo("a"))
    with pytest.raises(IntegrityError):
        files_at(path)


def test_a_long_header_is_not_read(tmp_path: Path) -> None:
    path = archive(tmp_path, entry("a", pax_headers={"comment": "x" * 100_000}))
    with pytest.raises(IntegrityError, match="too long"):
        files_at(path)


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelyardError):
        files_at(tmp_path / "none")


def test_a_folder_without_its_links(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs/a").write_bytes(b"x")
    (tmp_path / "link").symlink_to("/etc/passwd")
    files = FolderFiles(tmp_path)
    assert set(files.names()) == {"blobs/a"}
    assert b"".join(files.open("blobs/a")) == b"x"
