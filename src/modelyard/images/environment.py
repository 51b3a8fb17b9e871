"""The environment of an image: requirements are locked with hashes, then laid out as a tree.

uv does both. Its own configuration files are not read, and of its variables only those that say
where packages come from, so that the same requirements give the same lock under any account.
"""

from __future__ import annotations

import csv
import hashlib
import importlib.metadata
import io
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import uv
from packaging.utils import canonicalize_name

from modelyard.blobs.base import BlobStore
from modelyard.domain.cause import Cause, CauseCode
from modelyard.domain.image import Layer, LayerKind, Package, Platform
from modelyard.domain.requirements import parse_lines
from modelyard.errors import IntegrityError, InvalidRequest
from modelyard.images.bytecode import compile_sources
from modelyard.images.failures import (
    build_failed,
    explain_install,
    explain_lock,
    without_wheel,
)
from modelyard.images.launch import (
    ENVIRONMENT_ROOT,
    Interpreter,
    base_python,
    current_interpreter,
)
from modelyard.images.layers import LayerCache, files_below, write_tree
from modelyard.images.slimming import superfluous
from modelyard.settings import Settings

_LONGEST_RUN = 3600.0
"""Seconds; a package index that stops in the middle must not hold a build for ever."""
_TARGETS = {
    "linux/amd64": "x86_64-manylinux_2_28",
    "linux/arm64": "aarch64-manylinux_2_28",
    "darwin/amd64": "x86_64-apple-darwin",
    "darwin/arm64": "aarch64-apple-darwin",
}
_PASSED_ON = re.compile(
    r"PATH|HOME|TMPDIR|NETRC|SSL_CERT_(FILE|DIR)|(HTTPS?|ALL|NO)_PROXY|(https?|all|no)_proxy"
    r"|UV_(DEFAULT_INDEX|INDEX.*|EXTRA_INDEX_URL|KEYRING_PROVIDER|NATIVE_TLS|SYSTEM_CERTS"
    r"|INSECURE_HOST|HTTP_.*|OFFLINE)"
)
_PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)")
_HASH = re.compile(r"--hash=(sha256:[0-9a-f]{64})\b")
_SOURCES = "# from sources: "
_MACHINE_FILES = frozenset({".lock"})
_MACHINE_RECORDS = frozenset({"uv_cache.json"})


class Pin(NamedTuple):
    """One locked package."""

    name: str
    version: str
    hashes: tuple[str, ...]
    """`sha256:…` of every wheel that may be installed, sorted."""


@dataclass(frozen=True, slots=True)
class Lock:
    """Exact packages with the hashes of their wheels, for one Python and one platform."""

    text: str
    """As the installer reads it."""
    interpreter: Interpreter
    """What it was made for."""
    slim: bool = False
    """Its environment is laid out without what nothing needs."""
    saved: Mapping[str, int] = field(default_factory=dict)
    """Bytes that were left out, by package; known when it was laid out."""

    @property
    def digest(self) -> str:
        """`sha256:…` of the text."""
        return f"sha256:{hashlib.sha256(self.text.encode()).hexdigest()}"

    @property
    def pins(self) -> tuple[Pin, ...]:
        """Every package by name, with what may be installed of it."""
        found: list[tuple[str, str, list[str]]] = []
        for line in self.text.splitlines():
            if pinned := _PINNED.match(line):
                found.append((pinned[1], pinned[2], []))
            if found:
                found[-1][2].extend(_HASH.findall(line))
        return tuple(Pin(name, version, tuple(sorted(hashes))) for name, version, hashes in found)

    @property
    def packages(self) -> tuple[Package, ...]:
        """Every package by name."""
        sources = self.sources
        return tuple(
            Package(
                name=pin.name,
                version=pin.version,
                from_source=canonicalize_name(pin.name) in sources,
                saved=self.saved.get(canonicalize_name(pin.name), 0),
            )
            for pin in self.pins
        )

    @property
    def sources(self) -> tuple[str, ...]:
        """Packages that are built from their sources, for want of wheels."""
        line = re.search(rf"^{_SOURCES}(.+)$", self.text, re.MULTILINE)
        return tuple(line[1].split(", ")) if line is not None else ()


def runtime_requirements() -> tuple[str, ...]:
    """What the runtime itself needs in every environment."""
    return tuple(importlib.metadata.requires("modelyard-runtime") or ())


class Environments:
    """Locks requirements and lays environments out, for this host's or another Python."""

    def __init__(self, blobs: BlobStore, layers: LayerCache, settings: Settings) -> None:
        self._blobs = blobs
        self._layers = layers
        self._cache = settings.home / "cache" / "uv"
        self._wheels = settings.wheels

    def lock(
        self, requirements: Sequence[str], interpreter: Interpreter, allow_sources: bool = False
    ) -> Lock:
        """Lock the user's requirements together with the runtime's.

        With `allow_sources` what has no wheel is built from its sources, if it is for this host.

        Raises:
            BuildFailed: They cannot be met; `details["cause"]` says which and why.
        """
        runtime = runtime_requirements()
        text = "\n".join((*_accepted(requirements), *runtime)) + "\n"
        sources: list[str] = []
        while True:
            done = self._uv(interpreter, "compile", "-", "--generate-hashes", "--no-header",
                            "--no-annotate", *_built(sources), text=text)  # fmt: skip
            if not done.returncode:
                return Lock(_header(interpreter, sources) + done.stdout, interpreter)
            missing = without_wheel(done.stderr)
            may_build = allow_sources and interpreter == current_interpreter()
            if not may_build or missing is None or missing in sources:
                raise build_failed(explain_lock(done.stderr, runtime))
            sources.append(missing)

    def layer(self, lock: Lock, log: Callable[[str], None]) -> tuple[Lock, Layer]:
        """Install what is locked, make it the same everywhere, store and unpack it.

        The lock comes back with what was left out.

        Raises:
            BuildFailed: A package cannot be fetched, is not what was locked, or has something
                that must not be in a layer.
            InsufficientStorage: The disk is full.
        """
        with self._layers.staging() as tree:
            root = tree / ENVIRONMENT_ROOT
            root.mkdir(parents=True)
            self._install(lock, root)
            log(f"installed {len(lock.packages)} packages")
            try:
                saved = _normalise(root, lock.slim)
                if lock.slim:
                    log(f"slim: left out {sum(saved.values()) / (1 << 20):.1f} MiB")
                log(_compile(root, lock.interpreter))
                layer = write_tree(LayerKind.ENVIRONMENT, tree, self._blobs, self._layers)
                return replace(lock, saved=saved), layer
            except IntegrityError as error:
                raise build_failed(_unfit_package(error.message)) from error

    def _install(self, lock: Lock, root: Path) -> None:
        # Copies, because a hard link would share its mode and content with the cache.
        done = self._uv(lock.interpreter, "install", "-r", "-", "--target", str(root), 
                        "--require-hashes", "--no-deps", "--link-mode", "copy",
                        *_built(lock.sources), text=lock.text)  # fmt: skip
        if done.returncode:
            raise build_failed(explain_install(done.stderr))

    def _uv(
        self, interpreter: Interpreter, command: str, *arguments: str, text: str
    ) -> subprocess.CompletedProcess[str]:
        options = self._options(interpreter)
        try:
            return subprocess.run(
                [uv.find_uv_bin(), "pip", command, *arguments, *options],
                input=text,
                env={
                    name: value for name, value in os.environ.items() if _PASSED_ON.fullmatch(name)
                },
                capture_output=True,
                text=True,
                encoding="utf-8",
                errors="replace",
                timeout=_LONGEST_RUN,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise build_failed(
                Cause(
                    code=CauseCode.INSTALL_FAILED,
                    message=f"The package installer did not end within {_LONGEST_RUN:.0f} seconds.",
                    fix="Check the server's network and its package index, then build again.",
                )
            ) from error

    def _options(self, interpreter: Interpreter) -> list[str]:
        executable, _ = base_python()
        options = ["--no-config", "--no-progress", "--color", "never"]
        options += ["--cache-dir", str(self._cache), "--only-binary", ":all:"]
        options += ["--python", str(executable), "--python-version", interpreter.python]
        options += ["--python-platform", _target(interpreter.platform)]
        if self._wheels is not None:
            options += ["--no-index", "--find-links", str(self._wheels)]
        return options


def _built(sources: Sequence[str]) -> list[str]:
    """The installer's options for packages that are built from their sources."""
    return [word for name in sources for word in ("--no-binary", name)]


def _header(interpreter: Interpreter, sources: Sequence[str]) -> str:
    header = f"# Python {interpreter.python}, {interpreter.platform}\n"
    return header + (f"{_SOURCES}{', '.join(sorted(sources))}\n" if sources else "")


def _accepted(requirements: Sequence[str]) -> tuple[str, ...]:
    try:
        return parse_lines(requirements)
    except InvalidRequest as error:
        raise build_failed(
            Cause(
                code=CauseCode.INVALID_REQUIREMENT,
                message=f"{error.message}.",
                fix=f"{error.hint[:1].upper()}{error.hint[1:]}.",
            )
        ) from error


def _target(platform: Platform) -> str:
    try:
        return _TARGETS[str(platform)]
    except KeyError:
        raise build_failed(
            Cause(
                code=CauseCode.WRONG_PLATFORM,
                message=f"There are no environments for {platform}.",
                fix=f"Build on one of {', '.join(_TARGETS)}.",
            )
        ) from None


def _unfit_package(seen: str) -> Cause:
    return Cause(
        code=CauseCode.INSTALL_FAILED,
        message="A package holds something that an image cannot carry.",
        evidence=(seen,),
        fix="Leave out the package that has this file, or ask for another version of it.",
    )


def _compile(root: Path, interpreter: Interpreter) -> str:
    """Compile all but the packages' own tests: 41 % of the sources of scikit-learn's environment,
    and nothing imports them. Returns what was done, in words."""
    here = base_python()[1]
    if interpreter.python != here:
        return f"nothing is compiled: Python {interpreter.python} is not this host's {here}"
    sources = [
        file.path
        for file in files_below(root)
        if file.path.endswith(".py") and "tests" not in file.path.split("/")
    ]
    compile_sources(root, sources, f"/{ENVIRONMENT_ROOT}", interpreter)
    return f"compiled {len(sources)} modules"


def _normalise(root: Path, slim: bool) -> dict[str, int]:
    """Take out what differs from machine to machine, and the lines that list it.

    With `slim` also what nothing needs; returns the bytes of that, by package.
    """
    sizes = {path: 0 for path in _machine_files(root)}
    if slim:
        sizes |= {
            path.relative_to(root).as_posix(): path.stat().st_size for path in superfluous(root)
        }
    for path in sizes:
        (root / path).unlink()
    _remove_empty_folders(root)
    saved: dict[str, int] = {}
    for record in root.glob("*.dist-info/RECORD"):
        name = record.parent.name.partition("-")[0]
        saved[canonicalize_name(name)] = sum(sizes[path] for path in _drop_lines(record, sizes))
    for folder in list(root.rglob("__pycache__")):
        shutil.rmtree(folder)
    return saved


def _machine_files(root: Path) -> Iterable[str]:
    yield from (name for name in _MACHINE_FILES if (root / name).exists())
    yield from (f"bin/{path.name}" for path in root.glob("bin/*") if _is_script(path))
    for name in _MACHINE_RECORDS:
        yield from (path.relative_to(root).as_posix() for path in root.glob(f"*.dist-info/{name}"))


def _is_script(path: Path) -> bool:
    """Whether its first line names an interpreter, which is one of this machine."""
    with path.open("rb") as file:
        return file.read(2) == b"#!"


def _remove_empty_folders(root: Path) -> None:
    for folder, _, _ in os.walk(root, topdown=False):
        if folder != str(root):
            with suppress(OSError):
                os.rmdir(folder)


def _drop_lines(record: Path, removed: Mapping[str, int]) -> set[str]:
    """Take files out of the list of a package; which of them it had."""
    text = record.read_text(encoding="utf-8", errors="surrogateescape")
    rows = list(csv.reader(io.StringIO(text)))
    kept = [row for row in rows if not row or row[0] not in removed]
    if len(kept) < len(rows):
        with record.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(kept)
    return {row[0] for row in rows if row and row[0] in removed}
