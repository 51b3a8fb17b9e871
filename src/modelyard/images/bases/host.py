"""A minimal root file system from this host's Python and the shared libraries that it needs.

Called by `choice`. Everything has a fixed place inside, wherever it stands on the host, so that the
same Python gives the same bytes; but another host has another Python or other libraries, and an
image on such a base is tied to this one. There is no shell inside, and nothing to install with.
"""

from __future__ import annotations

import glob
import os
import re
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from modelyard.domain.cause import Cause, CauseCode
from modelyard.errors import IntegrityError
from modelyard.images.bases.elf import Needs, needs_of
from modelyard.images.bytecode import compile_sources
from modelyard.images.failures import build_failed
from modelyard.images.launch import base_python, current_interpreter
from modelyard.images.layers import (
    LayerCache,
    LayerFile,
    extract,
    file_from_bytes,
    file_from_path,
    files_below,
    public_folder,
    tar_chunks,
)

PYTHON = f"usr/local/bin/python{sys.version_info.major}.{sys.version_info.minor}"
"""The interpreter inside."""
ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt",
}

_STDLIB = f"usr/local/{sys.platlibdir}/python{sys.version_info.major}.{sys.version_info.minor}"
_USER = 65532
_FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/usr/sbin/nologin\n"
    f"modelyard:x:{_USER}:{_USER}:modelyard:/tmp:/usr/sbin/nologin\n",
    "etc/group": f"root:x:0:\nmodelyard:x:{_USER}:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}
_CERTIFICATES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
_ORIGIN = re.compile(r"\$(ORIGIN\b|\{ORIGIN\})")
_ZONES = "/usr/share/zoneinfo"

_LEFT_OUT = frozenset(
    {
        *("test", "tests", "ensurepip", "idlelib", "tkinter", "turtledemo", "turtle.py"),
        *("site-packages", "dist-packages", "sitecustomize.py", "usercustomize.py"),
        *("__pycache__", "lib-dynload", "posix", "right"),
    }
)
"""Of the standard library tests, tools and graphics; packages of the host; what is made anew here
or taken from elsewhere; clocks in other forms."""
_MODULES_LEFT_OUT = (
    *("_test", "_ctypes_test", "_xx", "xx"),
    *("_tkinter", "readline", "_curses", "_gdbm", "_dbm", "nis", "ossaudiodev"),
)
"""Compiled modules for tests, terminals and sound; each would bring libraries along."""

_ALSO = (
    *("libc.so.6", "libm.so.6", "libmvec.so.1", "libpthread.so.0", "libdl.so.2", "librt.so.1"),
    *("libutil.so.1", "libresolv.so.2", "libnsl.so.1", "libnss_files.so.2", "libnss_dns.so.2"),
    *("libgcc_s.so.1", "libstdc++.so.6", "libz.so.1", "libexpat.so.1", "libgomp.so.1"),
)
"""glibc's own, which its other parts load by name; and what wheels count on: the libraries of the
policy `manylinux_2_28` without those for graphics, and OpenMP, which is not in it and should be."""


@dataclass(frozen=True, slots=True)
class HostFile:
    """A file of this host, and where it stands inside."""

    place: str
    source: str
    executable: bool = False

    def mark(self) -> list[str | int]:
        """What changes when the file does."""
        found = os.stat(self.source)
        return [self.place, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]


def host_files() -> list[HostFile]:
    """Everything that is taken from this host; finding it runs nothing.

    Raises:
        BuildFailed: This host's Python is not one that can stand in a container.
    """
    interpreter = base_python()[0].resolve()
    program = _needs(interpreter)
    if program is None or program.loader is None:
        raise build_failed(_unfit(interpreter))
    files = [
        HostFile(PYTHON, str(interpreter), executable=True),
        HostFile(program.loader.lstrip("/"), os.path.realpath(program.loader), executable=True),
        *_standard_library(),
        *_below(_ZONES, _ZONES.lstrip("/")),
        *_certificates(),
    ]
    return files + _libraries(program, [Path(file.source) for file in files if _may_need(file)])


def host_layer(files: Iterable[HostFile], layers: LayerCache) -> Iterator[bytes]:
    """The tar of a root file system with these files, in pieces.

    Raises:
        BuildFailed: The standard library could not be compiled.
        IntegrityError: A file changed meanwhile, or must not be in a layer.
    """
    members = [file_from_path(file.place, Path(file.source), file.executable) for file in files]
    with layers.staging() as tree:
        yield from tar_chunks([*members, *_compiled(members, tree), *_own_files()])


def _own_files() -> list[LayerFile]:
    texts = [file_from_bytes(place, text.encode()) for place, text in _FILES.items()]
    return [*texts, public_folder("tmp")]


def _compiled(members: Iterable[LayerFile], tree: Path) -> list[LayerFile]:
    """The byte code of the standard library."""
    sources = [
        file for file in members if file.path.startswith(_STDLIB) and file.path.endswith(".py")
    ]
    extract(tar_chunks(sources), tree)
    compile_sources(tree, [file.path for file in sources], "/", current_interpreter())
    return [file for file in files_below(tree) if file.path.endswith(".pyc")]


def _standard_library() -> Iterator[HostFile]:
    base = {
        "installed_base": sys.base_prefix,
        "base": sys.base_prefix,
        "platbase": sys.base_exec_prefix,
        "installed_platbase": sys.base_exec_prefix,
    }
    folder = sysconfig.get_path("stdlib", vars=base)
    compiled = os.path.join(sysconfig.get_path("platstdlib", vars=base), "lib-dynload")
    yield from _below(folder, _STDLIB)
    for file in _below(compiled, f"{_STDLIB}/lib-dynload"):
        if not os.path.basename(file.source).startswith(_MODULES_LEFT_OUT):
            yield file


def _below(folder: str, place: str) -> Iterator[HostFile]:
    """The files below a folder, if there is one; what links to a file is that file itself."""
    try:
        entries = os.scandir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return
    with entries:
        for entry in entries:
            if _is_left_out(entry.name):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _below(entry.path, f"{place}/{entry.name}")
            elif entry.is_file():
                yield HostFile(f"{place}/{entry.name}", entry.path)


def _is_left_out(name: str) -> bool:
    return name in _LEFT_OUT or name.startswith("config-") or name.endswith((".a", ".o", ".pyc"))


def _certificates() -> Iterator[HostFile]:
    found = next((path for path in _CERTIFICATES if os.path.isfile(path)), None)
    if found is not None:
        yield HostFile(ENVIRONMENT["SSL_CERT_FILE"].lstrip("/"), found)


def _may_need(file: HostFile) -> bool:
    return file.executable or ".so" in os.path.basename(file.source)


def _libraries(program: Needs, begin: list[Path]) -> list[HostFile]:
    """Every library that the program, the modules or other libraries need.

    All go where the loader's own library stands, which is where it looks in any case.
    """
    assert program.loader is not None
    home = Path(program.loader).resolve().parent
    search = _Search(program.architecture, [home, *_configured_folders()])
    found = {name: path for name in _ALSO if (path := search.find(name, home, ())) is not None}
    waiting = [*begin, *found.values()]
    while waiting:
        path = waiting.pop()
        needs = _needs(path)
        if needs is None:
            continue
        for name in needs.libraries:
            if name in found or name == Path(program.loader).name:
                continue
            library = search.find(name, path.parent, needs.folders)
            if library is not None:  # else the module cannot be imported on the host either
                found[name] = library
                waiting.append(library)
    return [
        HostFile((home / name).as_posix().lstrip("/"), os.path.realpath(path))
        for name, path in found.items()
    ]


class _Search:
    """Looks libraries up as the loader would."""

    def __init__(self, architecture: str, folders: list[Path]) -> None:
        self._architecture = architecture
        self._folders = folders

    def find(self, name: str, origin: Path, first: tuple[str, ...]) -> Path | None:
        """The library of this name for something in `origin`, which asks for `first`."""
        wanted = [Path(_ORIGIN.sub(lambda _: str(origin), text)) for text in first]
        for folder in (*wanted, *self._folders):
            needs = _needs(folder / name)
            if needs is not None and needs.architecture == self._architecture:
                return folder / name
        return None


def _configured_folders() -> list[Path]:
    """Where the loader looks besides its own folder."""
    folders: list[str] = []
    for path in ("/etc/ld.so.conf", *sorted(glob.glob("/etc/ld.so.conf.d/*.conf"))):
        try:
            lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        folders += [line.strip() for line in lines if line.startswith("/")]
    return [Path(folder) for folder in (*folders, "/lib64", "/usr/lib64", "/lib", "/usr/lib")]


def _needs(path: Path) -> Needs | None:
    """What a file needs, or None when it is not there or is no program and no library."""
    try:
        return needs_of(path)
    except (OSError, IntegrityError):
        return None


def _unfit(interpreter: Path) -> Cause:
    return Cause(
        code=CauseCode.BASE_UNSUITABLE,
        message="This host's Python cannot be what an image stands on.",
        evidence=(f"{interpreter} names no program loader",),
        fix="Name another base with `--base` or MODELYARD_BASE; `none` builds an image that runs "
        "only as processes of a host.",
    )
