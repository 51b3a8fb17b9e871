"""The environment of an image: requirements are locked with hashes, then laid out as a tree.

uv does both. Its own configuration files are not read, and of its variables only those that say
where packages come from, so that the same requirements give the same lock under any account.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import uv
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from modelyard.blobs.base import BlobStore
from modelyard.domain.cause import Cause, CauseCode
from modelyard.domain.image import Layer, LayerKind, Package, Platform
from modelyard.domain.requirements import parse_lines
from modelyard.domain.values import digest_of, size_text
from modelyard.errors import IntegrityError, InvalidRequest
from modelyard.images.cancelling import run_program
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
from modelyard.images.layers import LayerCache, write_tree
from modelyard.images.normalising import compile_tree, normalise
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
_RUNTIME = "modelyard-runtime"
_SOURCES = "# from sources: "


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
        return digest_of(self.text.encode())

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
    return tuple(importlib.metadata.requires(_RUNTIME) or ())


def with_extras(requirements: Iterable[str]) -> Iterator[str]:
    """The requirements, with what extras of the runtime stand for in their place.

    The runtime itself is in every image, and on no index: `modelyard-runtime[otel]` asks for what
    that extra needs.

    Raises:
        BuildFailed: The runtime has no such extra.
    """
    lines = [Requirement(line) for line in runtime_requirements()]
    for line in requirements:
        asked = Requirement(line)
        if canonicalize_name(asked.name) != _RUNTIME:
            yield line
            continue
        for extra in sorted(asked.extras):
            found = [own for own in lines if own.marker and own.marker.evaluate({"extra": extra})]
            if not found:
                raise build_failed(_unknown_extra(extra))
            yield from (str(own).partition(";")[0].strip() for own in found)


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
        wanted = tuple(with_extras(_accepted(requirements)))
        text = "\n".join((*wanted, *runtime)) + "\n"
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
                saved = normalise(root, lock.slim)
                if lock.slim:
                    log(f"slim: left out {size_text(sum(saved.values()))}")
                log(compile_tree(root, lock.interpreter))
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
            return run_program(
                [uv.find_uv_bin(), "pip", command, *arguments, *options],
                text,
                {name: value for name, value in os.environ.items() if _PASSED_ON.fullmatch(name)},
                _LONGEST_RUN,
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


def _unknown_extra(extra: str) -> Cause:
    known = importlib.metadata.metadata(_RUNTIME).get_all("Provides-Extra") or []
    return Cause(
        code=CauseCode.INVALID_REQUIREMENT,
        message=f"{_RUNTIME} has no extra `{extra}`.",
        fix=f"It has {', '.join(sorted(known))}.",
    )


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
