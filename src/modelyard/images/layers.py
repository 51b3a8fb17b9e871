"""Layers: deterministic tars that are written once, stored as blobs and unpacked for running.

The build writes them; the check start and the agent's local driver unpack them. On one host both
share one `LayerCache`.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil

from modelyard.blobs.base import BlobStore, BlobWriter
from modelyard.domain.image import Layer, LayerKind
from modelyard.domain.values import DIGEST_PATTERN
from modelyard.errors import InsufficientStorage, IntegrityError
from modelyard.images import tar
from modelyard.images.claims import abandoned_folders, claimed_folder
from modelyard.images.extract import TreeWriter

_CHUNK = 1 << 20
_BOOT_MARK = ".boot"


@dataclass(frozen=True, slots=True)
class LayerFile:
    """One file on its way into a layer."""

    path: str
    """Place inside the layer, such as `opt/modelyard/code/score.py`."""
    size: int
    read: Callable[[], Iterable[bytes]]
    """Yields the content in pieces; called once for every writing."""
    executable: bool = False
    public_folder: bool = False
    """Not a file but an empty folder that everyone may write to."""


def file_from_bytes(path: str, content: bytes) -> LayerFile:
    """A file whose content is at hand."""
    return LayerFile(path, len(content), lambda: (content,))


def file_from_blob(path: str, digest: str, blobs: BlobStore) -> LayerFile:
    """A file whose content is a blob."""
    return LayerFile(path, blobs.size(digest), lambda: blobs.open(digest))


def file_from_path(path: str, source: Path, executable: bool = False) -> LayerFile:
    """A file that is a copy of one of this host."""
    return LayerFile(path, source.stat().st_size, _reader(str(source.resolve())), executable)


def public_folder(path: str) -> LayerFile:
    """An empty folder that everyone may write to, each below what is his own."""
    return LayerFile(path, 0, lambda: (), public_folder=True)


def files_below(folder: Path, prefix: str = "") -> list[LayerFile]:
    """Every regular file below `folder`, each under `prefix` and its relative path.

    Raises:
        IntegrityError: There is something that is neither a file nor a folder.
    """
    return list(_walk(folder, f"{prefix}/" if prefix else ""))


def _walk(folder: Path, prefix: str) -> Iterator[LayerFile]:
    with os.scandir(folder) as entries:
        for entry in entries:
            path = prefix + entry.name
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(Path(entry.path), f"{path}/")
            elif entry.is_file(follow_symlinks=False):
                status = entry.stat(follow_symlinks=False)
                yield LayerFile(
                    path, status.st_size, _reader(entry.path), bool(status.st_mode & 0o100)
                )
            else:
                raise IntegrityError(f"`{path}` is neither a regular file nor a folder")


def _reader(path: str) -> Callable[[], Iterator[bytes]]:
    def read() -> Iterator[bytes]:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(descriptor, "rb", buffering=0) as file:
            while chunk := file.read(_CHUNK):
                yield chunk

    return read


def tar_chunks(files: Iterable[LayerFile], folder: str = "") -> Iterator[bytes]:
    """The layer of these files, in pieces of about 1 MiB; the same files give the same bytes.

    Args:
        files: In any order.
        folder: What all of them are below; it is in the layer even if there are none.

    Raises:
        IntegrityError: A file is not as long as it said, or must not be in a layer.
    """
    pending: list[bytes] = []
    length = 0
    ordered = sorted(files, key=lambda file: file.path.split("/"))
    for piece in _pieces(ordered, folder.split("/") if folder else []):
        pending.append(piece)
        length += len(piece)
        if length >= _CHUNK:
            yield b"".join(pending)
            pending.clear()
            length = 0
    yield b"".join(pending)


def _pieces(files: Iterable[LayerFile], folders: list[str]) -> Iterator[bytes]:
    checks = tar.MemberChecks()

    def begin(member: tar.Member) -> bytes:
        checks.admit(member)
        return tar.header(member)

    def begin_folders(parts: list[str], shared: int) -> Iterator[bytes]:
        for depth in range(shared + 1, len(parts) + 1):
            yield begin(tar.Member("/".join(parts[:depth]), folder=True))

    yield from begin_folders(folders, 0)
    for file in files:
        parents = file.path.split("/")[:-1]
        yield from begin_folders(parents, _shared(folders, parents))
        folders = parents
        yield begin(_member(file))
        yield from _exactly(file)
        yield tar.padding(file.size)
    yield tar.END


def _member(file: LayerFile) -> tar.Member:
    if file.public_folder:
        return tar.Member(file.path, folder=True, public=True)
    return tar.Member(file.path, file.size, executable=file.executable)


def _shared(one: list[str], two: list[str]) -> int:
    """How many parts both begin with."""
    pairs = enumerate(zip(one, two, strict=False))
    return next((number for number, (a, b) in pairs if a != b), min(len(one), len(two)))


def _exactly(file: LayerFile) -> Iterator[bytes]:
    left = file.size
    for chunk in file.read():
        left -= len(chunk)
        if left < 0:
            break
        yield chunk
    if left:
        raise IntegrityError(f"`{file.path}` changed while it was written into a layer")


def write_layer(
    kind: LayerKind, files: Iterable[LayerFile], folder: str, blobs: BlobStore, layers: LayerCache
) -> Layer:
    """Store the layer of these files below `folder`, and unpack it in the same pass.

    Raises:
        IntegrityError: A file is not as long as it said, or must not be in a layer.
        InsufficientStorage: The disk is full.
    """
    with layers.staging() as tree, blobs.writer() as writer:
        # The writer hashes what passes, and in another thread: once is enough.
        _unpack(tar.TarStream(also(writer, tar_chunks(files, folder)), hashed=False), tree)
        stored = writer.commit()
        layers.publish(stored.digest, tree)
    return Layer(kind=kind, digest=stored.digest, size=stored.size)


def write_tree(kind: LayerKind, tree: Path, blobs: BlobStore, layers: LayerCache) -> Layer:
    """Store what is in a staged folder as a layer, and put the folder itself in place.

    Raises:
        IntegrityError: Something in it must not be in a layer.
        InsufficientStorage: The disk is full.
    """
    files = files_below(tree)
    for file in files:
        (tree / file.path).chmod(0o555 if file.executable else 0o444)
    with blobs.writer() as writer:
        for chunk in tar_chunks(files):
            writer.write(chunk)
        stored = writer.commit()
    layers.publish(stored.digest, tree)
    return Layer(kind=kind, digest=stored.digest, size=stored.size)


def also(writer: BlobWriter, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes, written on their way."""
    for chunk in chunks:
        writer.write(chunk)
        yield chunk


class LayerCache:
    """Unpacked layers of one host, below one folder: `<root>/<hex>/opt/modelyard/…`.

    Any number of threads and processes may use one folder at a time. A layer appears whole or not
    at all; what an interrupted unpacking left is removed by the next one.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._staging = root / ".staging"

    def path(self, digest: str) -> Path | None:
        """Folder of an unpacked layer, or None when it is not there.

        The first call after the host was started compares the files with the digest, because a
        power cut may have taken some; a layer that lost any is removed.
        """
        folder = self._place(digest)
        try:
            mark = (folder / _BOOT_MARK).read_text()
        except FileNotFoundError:
            return None
        if mark == _boot_id() or self._verify(digest, folder):
            return folder
        return None

    def unpack(self, digest: str, chunks: Iterable[bytes], size: int | None = None) -> Path:
        """Unpack a layer and return its folder; at once when it is there already.

        Args:
            digest: What the bytes must hash to.
            chunks: The tar in pieces of any length; read once, never held whole.
            size: Bytes that the tar has, when known: one that is longer is given up early.

        Raises:
            IntegrityError: The bytes have another digest, or a member could do harm.
            InsufficientStorage: The disk is full.
        """
        if (folder := self.path(digest)) is not None:
            return folder
        with self.staging() as tree:
            try:
                found = extract(chunks, tree, size)
            except IntegrityError as error:
                raise IntegrityError(f"layer {digest}: {error.message}") from error
            if found != digest:
                raise IntegrityError(f"layer {digest} arrived as {found}: its bytes were changed")
            return self.publish(digest, tree)

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """An empty folder for a tree that `publish` may put in place; removed at the end if not.

        Raises:
            InsufficientStorage: The disk is full.
        """
        self._staging.mkdir(parents=True, exist_ok=True)
        for _ in abandoned_folders(self._staging):
            pass  # being listed is what removes them
        try:
            with claimed_folder(self._staging) as folder:
                yield folder
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise InsufficientStorage(
                    f"the disk of {self._root} is full", hint="make room there, then try again"
                ) from error
            raise

    def publish(self, digest: str, tree: Path) -> Path:
        """Put a staged tree, whose layer has this digest, in place and return its folder."""
        place = self._place(digest)
        (tree / _BOOT_MARK).write_text(_boot_id())
        tree.chmod(0o755)
        try:
            tree.rename(place)
        except OSError as error:
            # Another one was faster with the same bytes.
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        return place

    def _place(self, digest: str) -> Path:
        if not re.fullmatch(DIGEST_PATTERN, digest):
            raise IntegrityError(f"`{digest[:100]}` is not a digest")
        return self._root / digest.removeprefix("sha256:")

    def _verify(self, digest: str, folder: Path) -> bool:
        """Compare an unpacked layer with its digest; remove it if it lost anything."""
        if _tree_digest(folder) != digest:
            self._discard(folder)
            return False
        mark = folder / f"{_BOOT_MARK}-{os.getpid()}"
        mark.write_text(_boot_id())
        mark.rename(folder / _BOOT_MARK)
        return True

    def _discard(self, folder: Path) -> None:
        with self.staging() as bin_, suppress(FileNotFoundError):
            folder.rename(bin_ / folder.name)


def extract(chunks: Iterable[bytes], folder: Path, size: int | None = None) -> str:
    """Write the members of a layer below `folder` and return the digest of what arrived.

    Raises:
        IntegrityError: A member could do harm, or the archive is not a layer.
    """
    stream = tar.TarStream(chunks, size)
    _unpack(stream, folder)
    return stream.digest


def _unpack(stream: tar.TarStream, folder: Path) -> None:
    with TreeWriter(folder) as writer:
        for member, content in stream.members():
            writer.write(member, content)


def _tree_digest(folder: Path) -> str | None:
    """Digest of an unpacked layer, found by writing it once more, to nowhere."""
    hashed = hashlib.sha256()
    try:
        for chunk in tar_chunks(files_below(folder / "opt", "opt")):
            hashed.update(chunk)
    except (IntegrityError, FileNotFoundError):
        return None
    return f"sha256:{hashed.hexdigest()}"


@cache
def _boot_id() -> str:
    """Something that changes when the host is started anew."""
    with suppress(FileNotFoundError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return str(int(psutil.boot_time()))
