"""Finds the Python inside a base, by the names in its layers and the first bytes of a file.

Called by `take`. Nothing of a base is unpacked or run here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from modelyard.errors import IntegrityError
from modelyard.images.bases.elf import ELF_64, MACHINES
from modelyard.images.bases.walk import Entry

HEAD = 20
"""Bytes of a program that tell the machine it is for."""
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_MOST_STEPS = 64
_MOST_LINKS = 100_000
_MOST_WHITEOUTS = 10_000
_PROGRAM = re.compile(r"(?:.*/)?python(?:3(?:\.\d{1,2})?)?")
_VERSIONED = re.compile(r"python(3\.\d{1,2})")
_LIBRARY = re.compile(r"((?:.*/)?lib(?:64)?)/python(3\.\d{1,2})/os\.py")
_LOADER = re.compile(r"(?:.*/)?ld-(?:(linux)|musl)-[^/]*\.so\.\d+")
_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"


@dataclass(frozen=True, slots=True)
class Found:
    """A Python inside a base."""

    path: str
    """Absolute, with every link resolved."""
    version: str
    """Minor version, such as `3.11`."""
    architecture: str
    """`amd64`, `arm64`, or the number of another machine."""


def wanted_head(name: str) -> int:
    """How much of the beginning of a file is needed."""
    return HEAD if _PROGRAM.fullmatch(name) else 0


class Contents:
    """What the layers of a base come to together, as far as it matters here."""

    def __init__(self) -> None:
        self._programs: dict[str, bytes] = {}
        self._libraries: dict[str, str] = {}
        self._links: dict[str, str] = {}
        self._loaders: dict[str, bool] = {}
        self._whiteouts = 0

    def lay(self, entries: Iterable[Entry]) -> None:
        """Lay one layer over those before."""
        for entry in entries:
            folder, _, name = entry.name.removesuffix("/").rpartition("/")
            if name == _OPAQUE:
                self._forget(folder, itself=False)
            elif name.startswith(_WHITEOUT):
                hidden = name.removeprefix(_WHITEOUT)
                self._forget(f"{folder}/{hidden}" if folder else hidden)
            elif ".." not in entry.name.split("/"):
                self._take(entry)

    def python(self, path: str = "") -> Found:
        """The Python that a search through `path` finds.

        Raises:
            IntegrityError: There is none, or none that wheels run on.
        """
        for folder in (path or _PATH).split(":"):
            for name in ("python3", *self._versioned(folder), "python"):
                place = self._resolve(f"{folder.strip('/')}/{name}")
                version = self._version(place)
                if version is not None:
                    self._refuse_musl()
                    return Found(f"/{place}", version, _machine(self._programs[place]))
        raise IntegrityError("there is no Python 3 in it")

    def _take(self, entry: Entry) -> None:
        name = entry.name.removesuffix("/")
        if entry.kind != "folder":
            self._replace(name)
        if entry.kind == "symlink":
            self._links[name] = _joined(name, entry.target)
            if len(self._links) > _MOST_LINKS:
                raise IntegrityError(f"it has more than {_MOST_LINKS} links")
        elif entry.kind == "link" and _PROGRAM.fullmatch(name):
            self._links[name] = entry.target.lstrip("./")
        elif entry.kind == "file" and _PROGRAM.fullmatch(name):
            self._programs[name] = entry.head
        elif entry.kind == "file" and (library := _LIBRARY.fullmatch(name)):
            self._libraries[name] = library[2]
        if entry.kind != "folder" and (loader := _LOADER.fullmatch(name)):
            self._loaders[name] = loader[1] is not None

    def _replace(self, place: str) -> None:
        """Something else stands in this place now; what was below it is hidden by it."""
        for known in self._known():
            known.pop(place, None)

    def _forget(self, place: str, itself: bool = True) -> None:
        """A layer says that this, and all below it, is gone."""
        self._whiteouts += 1
        if self._whiteouts > _MOST_WHITEOUTS:
            raise IntegrityError(f"its layers remove more than {_MOST_WHITEOUTS} things")
        below = f"{place}/" if place else ""
        for known in self._known():
            for name in [name for name in known if name.startswith(below)]:
                del known[name]
        if itself:
            self._replace(place)

    def _known(self) -> tuple[dict[str, Any], ...]:
        return (self._programs, self._libraries, self._links, self._loaders)

    def _versioned(self, folder: str) -> list[str]:
        inside = f"{folder.strip('/')}/"
        names = {
            name.removeprefix(inside)
            for name in (*self._programs, *self._links)
            if name.startswith(inside)
        }
        return sorted(name for name in names if _VERSIONED.fullmatch(name))

    def _resolve(self, place: str) -> str:
        """Where a path leads to when every link on its way is followed."""
        for _ in range(_MOST_STEPS):
            parts = place.split("/")
            for depth in range(1, len(parts) + 1):
                target = self._links.get("/".join(parts[:depth]))
                if target is not None:
                    place = "/".join([target, *parts[depth:]])
                    break
            else:
                return place
        return ""  # links that lead in a circle

    def _version(self, place: str) -> str | None:
        if place not in self._programs:
            return None
        folder, _, name = place.rpartition("/")
        if named := _VERSIONED.fullmatch(name):
            return named[1]
        prefix = folder.removesuffix("bin")
        versions = {
            version
            for library, version in self._libraries.items()
            if library.startswith((f"{prefix}lib/", f"{prefix}lib64/"))
        }
        return versions.pop() if len(versions) == 1 else None

    def _refuse_musl(self) -> None:
        if self._loaders and not any(self._loaders.values()):
            raise IntegrityError("its libraries are musl's, and the wheels of images need glibc's")


def _joined(name: str, target: str) -> str:
    """What a symlink means, seen from the root."""
    parts = [] if target.startswith("/") else name.split("/")[:-1]
    for part in target.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def _machine(head: bytes) -> str:
    if head[:6] != ELF_64:
        raise IntegrityError("its Python is not a program for 64-bit Linux")
    number = int.from_bytes(head[18:20], "little")
    return MACHINES.get(number, str(number))
