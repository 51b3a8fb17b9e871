"""Captured records in an object store: `…/date=<day>/<segment>.<start of its digest>.parquet`.

What was put there is never changed: new content has another name. The folder of this host has
copies, which the server reads, and which go when nobody has read them for a while.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import tempfile
import time
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from threading import Lock
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import AzureStore, GCSStore, ObjectStore, S3Store

from modelyard.capture.files import ENDING, Arrival, CapturedFiles, unwritable
from modelyard.domain.captured import Segment
from modelyard.errors import IntegrityError, InvalidRequest, Unavailable

_DIGITS = 16
"""Of a digest, in a name."""
_IN_ONE_GO = 64 << 20
"""Bytes up to which a file is put only if it is not there; a longer one comes in parts."""
_AT_ONCE = 8
"""Files that are fetched at the same time."""
_SHORTEST_PAUSE, _LONGEST_PAUSE = 1.0, 10.0
_LONGEST_WHY = 300
_STORES: dict[str, type[S3Store | AzureStore | GCSStore]] = {
    "s3": S3Store,
    "az": AzureStore,
    "gs": GCSStore,
}
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT", "AZURE_STORAGE_ENDPOINT")
_KEY = re.compile(rf"(?:[^/]+=[^/]*/){{4}}([^/]+)\.([0-9a-f]{{{_DIGITS}}}){re.escape(ENDING)}")

_log = logging.getLogger(__name__)


def store_at(url: str) -> ObjectStore:
    """The store that an address names; credentials are in the environment variables of its cloud.

    Args:
        url: `s3://bucket/prefix`, `az://container/prefix` or `gs://bucket/prefix`.

    Raises:
        InvalidRequest: It is none, or the environment says something that cannot be.
    """
    parts = urlsplit(url)
    kind = _STORES.get(parts.scheme)
    is_plain = re.fullmatch(r"[A-Za-z0-9._-]+", parts.netloc) and not parts.query
    if kind is None or not is_plain or parts.fragment:
        raise InvalidRequest(
            "MODELYARD_CAPTURE_STORE names no store for captured records",
            hint="set it to `s3://bucket/prefix`, `az://container/prefix` or `gs://bucket/prefix`; "
            "credentials go into the environment variables of the cloud",
        )
    is_unencrypted = any(os.environ.get(name, "").startswith("http://") for name in _ENDPOINTS)
    try:
        return kind(
            parts.netloc,
            prefix=parts.path.strip("/") or None,
            client_options={
                "allow_http": is_unencrypted,
                "connect_timeout": "5s",
                "timeout": "60s",
            },
            retry_config={"max_retries": 1, "retry_timeout": timedelta(seconds=10)},
        )
    except (BaseError, ValueError) as error:
        raise InvalidRequest(
            f"captured records cannot go to `{url}`: {_why(error)}",
            hint="see to the environment variables of the cloud, such as AWS_REGION",
        ) from error


class RemoteFiles(CapturedFiles):
    """Segments in an object store, and copies of them in a folder.

    Files that were in the folder before there was a store are put there by `sweep`.

    Args:
        store: Where they are; as `store_at` gives it.
        name: What it is called in messages.
        folder: Of this host.
        most: Bytes of copies that are kept, besides those that were read within the hour.
    """

    def __init__(self, store: ObjectStore, name: str, folder: Path, most: int) -> None:
        super().__init__(folder)
        self._store = store
        self._most = most
        self._gate = _Gate(name)
        self._staged: set[str] = set()

    def place(self, segment: Segment, arrival: Arrival) -> None:
        """Put what has arrived into the store, and keep a copy."""
        arrival.check(segment)
        self._upload(segment, arrival.path)
        super().place(segment, arrival)

    def path(self, segment: Segment) -> Path:
        """Where a copy of a segment is: fetched unless it is here, and kept for an hour at least.

        Raises:
            Unavailable: The store, or the disk, does not give it.
            IntegrityError: The store has something else there.
        """
        path = self._place_of(segment)
        try:
            os.utime(path)
        except FileNotFoundError:
            with suppress(FileNotFoundError):  # nor is it there: whoever reads it says so
                self._fetch(segment, path)
        return path

    def paths(self, segments: Sequence[Segment]) -> tuple[Path, ...]:
        """The same of several."""
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="captured") as pool:
            return tuple(pool.map(self.path, segments))

    def stage(self, segment: Segment) -> None:
        """Put a new file beside the old one: they have different names."""
        self._upload(segment, self.rewriting / f"{segment.name}{ENDING}")
        self._staged.add(_key(segment))

    def replace(self, segment: Segment) -> None:
        """Have the new file as the copy, and put it into the store unless it was staged."""
        super().replace(segment)
        if _key(segment) not in self._staged:
            self._upload(segment, self._place_of(segment))
        self._staged.discard(_key(segment))

    def retire(self, segment: Segment) -> None:
        """Delete an old file that another one has replaced."""
        self._remove(_key(segment))

    def delete(self, segment: Segment) -> None:
        """Remove a segment and the copy of it; no error when they are gone."""
        super().delete(segment)
        self._remove(_key(segment))

    def names(self) -> set[str]:
        """Names of the segments of which there are files, here or in the store."""
        return super().names() | {name for name, _ in map(_named, self._keys()) if name}

    def remove(self, names: Container[str]) -> None:
        """Delete the files of segments with these names, here and in the store."""
        super().remove(names)
        for key in self._keys():
            if _named(key)[0] in names:
                self._remove(key)

    def _keys(self) -> list[str]:
        with self._gate.passing("list"):
            return [meta["path"] for page in obstore.list(self._store) for meta in page]

    def sweep(self, live: Callable[[], Mapping[str, str]], before: datetime) -> int:
        """Delete what nobody knows of, put there what is only here, and let old copies go."""
        with self._gate.passing("list"):
            listed = [meta for page in obstore.list(self._store) for meta in page]
        known = live()
        there = {_named(meta["path"]) for meta in listed}
        gone = self._tidy(known, there, before)  # first: what is only here is put there
        for meta in listed:
            name, digits = _named(meta["path"])
            wanted = _digits(known.get(name, ""))
            is_replaced = (name, wanted) in there and digits != wanted
            if name and (is_replaced or (name not in known and meta["last_modified"] < before)):
                self._remove(meta["path"])
                gone += 1
        return gone + super().sweep(lambda: known, before)

    def _tidy(self, known: Mapping[str, str], there: set[tuple[str, str]], before: datetime) -> int:
        copies = []
        for name, path in self.placed().items():
            wanted = known.get(name)
            if wanted is None:
                continue
            if (name, _digits(wanted)) not in there:
                self._put_there(path, wanted)
                continue
            with suppress(OSError):  # it has gone meanwhile
                facts = path.stat()
                copies.append((facts.st_mtime, facts.st_size, path))
        total = sum(size for _, size, _ in copies)
        gone = 0
        for used, size, path in sorted(copies):
            if total <= self._most or used >= before.timestamp():
                break
            path.unlink(missing_ok=True)
            total -= size
            gone += 1
        return gone

    def _put_there(self, path: Path, digest: str) -> None:
        """A file of before there was a store, or one that it did not take at the time."""
        folder = path.parent.relative_to(self._folder).as_posix()
        with path.open("rb") as file:
            if f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}" != digest:
                return  # it is being replaced
        self._put(f"{folder}/{path.stem}.{_digits(digest)}{ENDING}", path)

    def _upload(self, segment: Segment, path: Path) -> None:
        """Put a file, and read it back: what cannot be read does not count."""
        key = _key(segment)
        self._put(key, path)
        try:
            self._read(segment, lambda chunk: None)
        except IntegrityError:  # another file has this name, which no file of ours has
            self._put(key, path, mode="overwrite")
            self._read(segment, lambda chunk: None)

    def _put(self, key: str, path: Path, mode: str = "create") -> None:
        with self._gate.passing("take"):
            try:
                if mode == "create" and path.stat().st_size <= _IN_ONE_GO:
                    obstore.put(self._store, key, path, mode="create")
                else:  # the name says what is in it: to put it there again changes nothing
                    obstore.put(self._store, key, path)
            except AlreadyExistsError:
                pass

    def _fetch(self, segment: Segment, path: Path) -> None:
        """Copy a segment to this host; FileNotFoundError when it is not there."""
        self._arriving.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=self._arriving)
        part = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                self._read(segment, file.write)
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            part.replace(path)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise unwritable(error) from error
        finally:
            part.unlink(missing_ok=True)

    def _read(self, segment: Segment, write: Callable[[bytes], object]) -> None:
        found, size = hashlib.sha256(), 0
        with self._gate.passing("give"):
            for piece in obstore.get(self._store, _key(segment)).stream():
                chunk = bytes(piece)
                found.update(chunk)
                size += len(chunk)
                write(chunk)
        if (f"sha256:{found.hexdigest()}", size) != (segment.digest, segment.size):
            raise IntegrityError(
                f"captured segment `{segment.name}` is not in the store as it was put there",
                hint="somebody has changed it: put back what was there",
            )

    def _remove(self, key: str) -> None:
        with self._gate.passing("delete"), suppress(FileNotFoundError):
            obstore.delete(self._store, key)


class _Gate:
    """Lets nobody wait for a store that has just failed, and tells the log once that it does.

    Args:
        name: Of the store.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = Lock()
        self._pause = 0.0
        self._closed_until = 0.0
        self._why = ""

    @contextmanager
    def passing(self, verb: str) -> Iterator[None]:
        """While something is done with the store.

        Raises:
            Unavailable: It fails, or has failed a moment ago.
            FileNotFoundError: It has no such object.
        """
        if time.monotonic() < self._closed_until:
            raise self._unavailable(verb)
        try:
            yield
        except FileNotFoundError:
            if verb not in ("take", "list"):
                raise
            self._close("there is no such bucket or container")
            raise self._unavailable(verb) from None
        except BaseError as error:
            self._close(_why(error))
            raise self._unavailable(verb) from None  # whose words may hold what is secret
        self._open()

    def _close(self, why: str) -> None:
        with self._lock:
            if not self._pause:
                _log.warning("%s fails, and agents keep captured records: %s", self._name, why)
            self._pause = min(max(self._pause * 2, _SHORTEST_PAUSE), _LONGEST_PAUSE)
            self._closed_until = time.monotonic() + self._pause
            self._why = why

    def _open(self) -> None:
        if not self._pause:
            return
        with self._lock:
            _log.info("%s takes captured records again", self._name)
            self._pause = self._closed_until = 0.0

    def _unavailable(self, verb: str) -> Unavailable:
        return Unavailable(
            f"the store of captured records, {self._name}, cannot {verb} a file now: {self._why}",
            hint="agents keep records until it can; see to MODELYARD_CAPTURE_STORE and to the "
            "credentials in the server's environment",
        )


def _key(segment: Segment) -> str:
    return (
        f"service={segment.service_name}/model={segment.model}/version={segment.version}/"
        f"date={segment.date}/{segment.name}.{_digits(segment.digest)}{ENDING}"
    )


def _digits(digest: str) -> str:
    return digest.removeprefix("sha256:")[:_DIGITS]


def _named(key: str) -> tuple[str, str]:
    """Name and start of the digest in a key; empty where it is none of ours."""
    found = _KEY.fullmatch(key)
    return (found[1], found[2]) if found else ("", "")


def _why(error: Exception) -> str:
    """What a store says, in short, and without what may be secret in addresses."""
    first = str(error).strip().partition("\n")[0]
    return re.sub(r"\?\S*", "", first)[:_LONGEST_WHY]
