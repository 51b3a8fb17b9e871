"""The server's files of captured records, in folders that other programs can read, too.

`service=<name>/model=<name>/version=<n>/date=<day>/<segment>.parquet`
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from modelyard.domain.captured import Segment
from modelyard.errors import InsufficientStorage, IntegrityError, ModelyardError, Unavailable
from modelyard.files import sync_folder

ENDING = ".parquet"
LARGEST = 1 << 30
"""Bytes of one file."""


class Arrival:
    """A file that is coming in."""

    def __init__(self, descriptor: int, path: Path) -> None:
        self._file = os.fdopen(descriptor, "wb")
        self._hash = hashlib.sha256()
        self.path = path
        self.size = 0

    def write(self, chunk: bytes) -> None:
        """Take the next bytes.

        Raises:
            InsufficientStorage: The disk is full.
            IntegrityError: There are more of them than a segment has.
        """
        self.size += len(chunk)
        if self.size > LARGEST:
            raise IntegrityError(f"a captured segment is longer than {LARGEST} bytes")
        self._hash.update(chunk)
        try:
            self._file.write(chunk)
        except OSError as error:
            raise unwritable(error) from error

    def finish(self) -> str:
        """Have everything on the disk; the digest of it."""
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise unwritable(error) from error
        return f"sha256:{self._hash.hexdigest()}"

    def check(self, segment: Segment) -> None:
        """Have everything on the disk, and make sure that it is what the segment says.

        Raises:
            IntegrityError: It is not.
        """
        digest = self.finish()
        if (digest, self.size) != (segment.digest, segment.size):
            raise IntegrityError(
                f"captured segment `{segment.name}` arrived as {digest}, {self.size} bytes, and "
                f"was to be {segment.digest}, {segment.size} bytes",
                hint="the agent sends it again",
            )

    def close(self) -> None:
        """Let go of it."""
        with suppress(OSError):
            self._file.close()


class CapturedFiles:
    """A folder of segments.

    Args:
        folder: Of all of them; made when it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._arriving = folder / ".arriving"
        self.rewriting = folder / ".rewriting"
        """Files that take the places of others of the same segments, once these are agreed on."""

    @contextmanager
    def receive(self) -> Iterator[Arrival]:
        """Take a file in; it is gone afterwards, unless it was placed."""
        try:
            self._arriving.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=self._arriving)
        except OSError as error:
            raise unwritable(error) from error
        arrival = Arrival(descriptor, Path(name))
        try:
            yield arrival
        finally:
            arrival.close()
            arrival.path.unlink(missing_ok=True)

    def place(self, segment: Segment, arrival: Arrival) -> None:
        """Put what has arrived where the segment belongs.

        Raises:
            IntegrityError: It is not what the segment says.
        """
        arrival.check(segment)
        path = self._place_of(segment)
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            arrival.path.replace(path)
            for folder in (path.parent, *list(path.parents)[1:5]):
                sync_folder(folder)
        except OSError as error:
            raise unwritable(error) from error

    def path(self, segment: Segment) -> Path:
        """Where a segment can be read."""
        return self._place_of(segment)

    def paths(self, segments: Sequence[Segment]) -> tuple[Path, ...]:
        """The same of several, in their order."""
        return tuple(map(self._place_of, segments))

    def _place_of(self, segment: Segment) -> Path:
        return (
            self._folder
            / f"service={segment.service_name}"
            / f"model={segment.model}"
            / f"version={segment.version}"
            / f"date={segment.date}"
            / f"{segment.name}{ENDING}"
        )

    def sweep(self, live: Callable[[], Mapping[str, str]], before: datetime) -> int:
        """Delete what a killed server has left; the number of files.

        Args:
            live: Digests of the segments that belong here, by name; asked only if need be.
            before: Files go that were written earlier, and have come in half or are not live.
        """
        placed = [path for path in self.placed().values() if _is_old(path, before)]
        known = live() if placed else {}
        strays = [path for path in placed if path.stem not in known]
        strays += [path for path in self._arriving.glob("*") if _is_old(path, before)]
        for path in strays:
            path.unlink(missing_ok=True)
        return len(strays)

    def placed(self) -> dict[str, Path]:
        """All files of this host, by the names of their segments."""
        return {path.stem: path for path in self._folder.glob(f"service=*/*/*/*/*{ENDING}")}

    def names(self) -> set[str]:
        """Names of the segments of which there are files."""
        return set(self.placed())

    def remove(self, names: Container[str]) -> None:
        """Delete the files of segments with these names."""
        for name, path in self.placed().items():
            if name in names:
                path.unlink(missing_ok=True)

    def keep_awhile(self, segment: Segment) -> None:
        """Leave a file that has another in its place to those who read it: `sweep` takes it."""
        with suppress(OSError):
            os.utime(self._place_of(segment))

    def stage(self, segment: Segment) -> None:
        """Have the new file of a segment survive, before anything says that it counts.

        Raises:
            Unavailable: The disk does not let it.
        """
        del segment
        try:
            sync_folder(self.rewriting)
        except OSError as error:
            raise unwritable(error) from error

    def retire(self, segment: Segment) -> None:
        """Delete what another file has replaced; in a folder it had the same name, and is gone."""

    def replace(self, segment: Segment) -> None:
        """Put the new file of a segment where it belongs, in the place of an old one if any.

        Raises:
            Unavailable: The disk does not let it.
        """
        path = self._place_of(segment)
        try:
            sync_folder(self.rewriting)
            (self.rewriting / path.name).replace(path)
            sync_folder(path.parent)
        except OSError as error:
            raise unwritable(error) from error

    def rewritten(self) -> dict[str, str]:
        """Digests of the new files that are there, by the names of their segments."""
        found = {}
        for path in self.rewriting.glob(f"*{ENDING}"):
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            found[path.stem] = f"sha256:{digest}"
        return found

    def clear_rewritten(self) -> None:
        """Delete the new files that nobody wants."""
        shutil.rmtree(self.rewriting, ignore_errors=True)

    def delete(self, segment: Segment) -> None:
        """Remove a segment; no error when it is gone."""
        path = self._place_of(segment)
        path.unlink(missing_ok=True)
        for folder in list(path.parents)[:4]:
            with suppress(OSError):  # others are in it
                folder.rmdir()


def _is_old(path: Path, before: datetime) -> bool:
    try:
        return path.stat().st_mtime < before.timestamp()
    except OSError:  # it has gone meanwhile
        return False


def unwritable(error: OSError) -> ModelyardError:
    """What is said of a disk that takes nothing."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return InsufficientStorage(
            f"captured records cannot be written: {error.strerror}", hint="free some space"
        )
    return Unavailable(
        f"captured records cannot be written: {error.strerror}",
        hint="see to `captured` in the server's home folder; agents send them again",
    )
