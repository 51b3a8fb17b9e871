"""A base from this host's Python: the same bytes whatever stands around it, and it starts."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.images.copying import copy_python

from modelyard.blobs.local import LocalBlobs
from modelyard.domain.image import Base
from modelyard.errors import BuildFailed
from modelyard.images.bases import host
from modelyard.images.bases.choice import Bases
from modelyard.images.known import KnownLayers
from modelyard.images.launch import current_platform
from modelyard.images.layers import LayerCache

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has such a base")

SOURCES = Path(__file__).parents[3]
DIGEST = """
import sys
from pathlib import Path
from tests.integration.images.test_host_base import Shelf
print(Shelf(Path(sys.argv[1])).base().digest)
"""


class Shelf:
    """A home folder with its bases."""

    def __init__(self, home: Path) -> None:
        self.blobs = LocalBlobs(home / "blobs")
        self.layers = LayerCache(home / "layers")
        self.bases = Bases(self.blobs, self.layers, KnownLayers(home / "known", self.blobs))

    def base(self) -> Base:
        base = self.bases.find("host", current_platform()).base
        assert base is not None
        return base

    def key(self, base: str) -> str:
        return self.bases.key(base, current_platform())

    def tar(self) -> tarfile.TarFile:
        content = b"".join(self.blobs.open(self.base().layers[0].digest))
        return tarfile.open(fileobj=io.BytesIO(content))


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    return Shelf(tmp_path_factory.mktemp("shelf"))


def test_it_is_one_plain_layer_with_a_python_in_a_fixed_place(shelf: Shelf) -> None:
    base = shelf.base()
    (layer,) = base.layers
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert (base.origin, base.python) == ("host", f"/usr/local/bin/python{version}")
    assert base.digest == layer.digest == layer.diff_id
    assert layer.size == shelf.blobs.size(layer.digest)


def test_there_is_what_wheels_count_on_and_nothing_of_the_host(shelf: Shelf) -> None:
    with shelf.tar() as archive:
        members = archive.getmembers()
    names = {member.name for member in members}
    libraries = {Path(name).name for name in names}
    assert {"libc.so.6", "libm.so.6", "libstdc++.so.6", "libgcc_s.so.1", "libz.so.1"} <= libraries
    assert "etc/ssl/certs/ca-certificates.crt" in names
    unwanted = ("test", "tests", "idlelib", "tkinter", "ensurepip", "site-packages")
    assert not [name for name in names if set(name.split("/")) & set(unwanted)]
    assert all(member.isfile() or member.isdir() for member in members)
    assert [member.name for member in members if member.mode & 0o022] == ["tmp"]
    assert {(member.uid, member.gid, member.mtime) for member in members} == {(0, 0, 0)}


def test_a_second_build_takes_what_is_there(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    first = shelf.base()

    def unwanted(*_: object) -> None:
        raise AssertionError("written again")

    monkeypatch.setattr(host, "host_layer", unwanted)
    assert shelf.base() == first
    assert shelf.key("host") == shelf.key("host") != shelf.key("none")


def test_a_changed_library_is_seen(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    key = shelf.key("host")
    monkeypatch.setattr(host, "_CERTIFICATES", (__file__,))
    assert shelf.key("host") != key
    assert shelf.base().digest != "sha256:" + "0" * 64


def test_the_same_python_elsewhere_gives_the_same_bytes(shelf: Shelf, tmp_path: Path) -> None:
    """Another path of the interpreter, another home, another umask."""
    link = copy_python(tmp_path / "another python")
    done = subprocess.run(
        [link, "-c", DIGEST, tmp_path / "home"],
        env={"PYTHONPATH": os.pathsep.join([str(SOURCES), *filter(None, sys.path)])},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        umask=0o077,
    )
    assert done.stdout.strip() == shelf.base().digest, done.stderr


@pytest.fixture(scope="module")
def root(shelf: Shelf, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("root")
    folder.chmod(0o755)
    with shelf.tar() as archive:
        archive.extractall(folder, filter="fully_trusted")  # our own, to look at it
    yield folder
    shutil.rmtree(folder)


def inside(root: Path, code: str) -> str:
    """What a Python that has nothing but the base prints."""
    enter = ["chroot", "--userspec=65532:65532"] if os.geteuid() == 0 else ["unshare", "-r", "-R"]
    done = subprocess.run(
        [*enter, root, f"/{host.PYTHON}", "-s", "-S", "-P", "-c", code],
        env=host.ENVIRONMENT | {"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_starts_with_nothing_else_around_it(root: Path) -> None:
    assert inside(root, "import sys; print(sys.prefix, *sys.version_info[:2])").split() == [
        "/usr/local",
        *map(str, sys.version_info[:2]),
    ]
    code = "import ctypes, ssl, sqlite3, lzma, bz2, zlib, hashlib, multiprocessing, asyncio, uuid"
    assert inside(root, code) == ""
    code = "import ssl; print(len(ssl.create_default_context().get_ca_certs()) > 10)"
    assert inside(root, code) == "True\n"
    for library in ("libstdc++.so.6", "libgcc_s.so.1", "libm.so.6"):
        assert inside(root, f"import ctypes; ctypes.CDLL({library!r})") == ""


def test_its_standard_library_is_compiled(root: Path) -> None:
    code = (
        "import sys, argparse, importlib.util as u\n"
        "data = open(argparse.__cached__, 'rb').read()\n"
        "print(argparse.__cached__, data[:4] == u.MAGIC_NUMBER, data[4])"
    )
    place, right, flags = inside(root, code).split()
    assert place.startswith("/usr/local/")
    assert (right, flags) == ("True", "1")  # by hash, and the hash is not compared


def test_a_python_that_cannot_stand_alone_is_refused(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "base_python", lambda: (Path(__file__), "3.11"))
    with pytest.raises(BuildFailed) as caught:
        shelf.base()
    assert caught.value.details["cause"]["code"] == "base_unsuitable"
