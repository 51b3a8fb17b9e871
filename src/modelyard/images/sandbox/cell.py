"""A kind of sandbox, and one run of an image in it.

The check start, profiles, the search for a faster form and the agent's local driver all start the
runtime through a `Cell`, so that what was checked is what runs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from modelyard.domain.image import LayerKind
from modelyard.domain.service import Network
from modelyard.images.launch import base_python
from modelyard.images.sandbox import bubblewrap, confine, system_files

SCRATCH = "scratch"
CAPTURED = "captured"
CONFIG = "replica.json"
STATUS = "status/status.json"
"""In a folder of its own, for that is all that the runtime may write beside its scratch folder."""
_SHARED_MEMORY = "shm"

_INSIDE = Path("/run/modelyard")
"""The private folder as the runtime sees it where it has a root of its own. The layers are then
where they are in a container."""
_SHELL_SIGNAL = 128
_OPEN_FILES = 16_384
_PROCESSES = 1024
_PROCESSES_PER_WORKER_AND_CORE = 16
"""Threads count as processes, and numerical libraries start some for every core."""
_FIRST_USER, _USERS = 61_184, 4336
"""Ids that systemd gives away in the same manner: no person or program of a host has them."""


class SandboxKind(StrEnum):
    """How much a host can do, from the most to nothing."""

    BUBBLEWRAP = "bubblewrap"
    LANDLOCK = "landlock"
    LIMITS = "limits"
    NONE = "none"


class KernelLimits(NamedTuple):
    """What one run may use, enforced by the kernel."""

    file_size: int
    """Bytes of the longest file."""
    processes: int

    @classmethod
    def of(cls, memory: int, workers: int) -> KernelLimits:
        """For a memory limit in bytes and a number of workers.

        A file that is longer than the memory could not be loaded either.
        """
        per_worker = _PROCESSES_PER_WORKER_AND_CORE * (os.cpu_count() or 1)
        return cls(memory, _PROCESSES + workers * per_worker)


@dataclass(frozen=True, slots=True)
class Sandbox:
    """One kind of sandbox, as this host has it."""

    kind: SandboxKind
    own_user: bool = False
    """Started by root, the runtime becomes a user that nobody else is."""
    own_network: bool = False
    """Without a network of the host, the runtime has one with nothing in it."""
    no_tcp: bool = False
    """Without a network of the host, the kernel refuses TCP; other protocols it lets through."""
    no_namespaces: bool = False
    """It can make no user namespaces, which have led out of sandboxes before."""
    counts_processes: bool = False
    """The kernel counts the processes of one run apart from all others, so they can be limited."""
    missing: tuple[str, ...] = ()
    """Why this host has nothing better, a line each."""

    @property
    def sound(self) -> bool:
        """It keeps files apart, and the network away."""
        keeps_files = self.kind in (SandboxKind.BUBBLEWRAP, SandboxKind.LANDLOCK)
        return keeps_files and (self.own_network or self.no_tcp)

    @property
    def depth(self) -> int:
        """How many processes of its own it has above the runtime."""
        return bubblewrap.DEPTH if self.kind is SandboxKind.BUBBLEWRAP else 0

    def describe(self, network: Network) -> str:
        """For a log: what the runtime is started in."""
        if self.kind is SandboxKind.NONE:
            return "no sandbox, as the settings say"
        if network is Network.OUTBOUND or not (self.own_network or self.no_tcp):
            return f"sandbox: {self.kind}, with the host's network"
        return f"sandbox: {self.kind}, without a network"


class Places(NamedTuple):
    """Where the files of a run are."""

    layers: Mapping[LayerKind, Path]
    scratch: Path
    """Its home, its temporary files, and the only folder that it may fill."""
    config: Path
    status: Path
    captured: Path
    """Where it records requests."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One run of an image in a sandbox.

    Args:
        sandbox: Of this host.
        folder: Private folder of the run, readable by nobody else; kept for its next start.
        layers: Folder of every unpacked layer.
        network: What it may reach.
        limits: What it may use.
    """

    sandbox: Sandbox
    folder: Path
    layers: Mapping[LayerKind, Path]
    network: Network
    limits: KernelLimits

    @property
    def outside(self) -> Places:
        """The files as the host names them."""
        return _places(self.layers, self.folder)

    @property
    def inside(self) -> Places:
        """The files as the runtime names them."""
        if self.sandbox.kind is not SandboxKind.BUBBLEWRAP:
            return self.outside
        return _places(dict.fromkeys(self.layers, Path("/")), _INSIDE)

    @property
    def is_offline(self) -> bool:
        """The sandbox keeps the network away."""
        return not self._online and (self.sandbox.own_network or self.sandbox.no_tcp)

    def prepare(self, config: str) -> None:
        """Make the folders, and write the configuration, for the runtime alone."""
        path = self.outside.config
        temporary = path.with_name(f".{path.name}")
        for folder in self._writable():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(config)
        if self.sandbox.own_user:
            for owned in (*self._writable(), temporary):
                os.chown(owned, self._user, self._user, follow_symlinks=False)
        os.replace(temporary, path)

    def command(self, command: Sequence[str]) -> list[str]:
        """The whole command that starts this command inside."""
        if self.sandbox.kind is SandboxKind.NONE:
            return list(command)
        launcher = [base_python()[0], "-I", "-S", self._confine()]
        within = [*map(str, launcher), *self._options(), "--", *command]
        return [*self._bubblewrap(), *within]

    def exit_code(self, code: int) -> int:
        """Of the runtime: its status, or minus the signal that ended it.

        Bubblewrap ends like a shell does, with 128 and the signal.
        """
        if self.sandbox.depth and code > _SHELL_SIGNAL:
            return _SHELL_SIGNAL - code
        return code

    def _bubblewrap(self) -> list[str]:
        if self.sandbox.kind is not SandboxKind.BUBBLEWRAP:
            return []
        outside, inside = self.outside, self.inside
        read = {Path(confine.__file__): self._confine(), outside.config: inside.config}
        write = {
            outside.status.parent: inside.status.parent,
            outside.captured: inside.captured,
            self.folder / _SHARED_MEMORY: Path("/dev/shm"),  # noqa: S108 - of this run alone
            outside.scratch: inside.scratch,
        }
        return bubblewrap.command(
            system=system_files.readable(online=self._online),
            layers=self.layers,
            read=read,
            write=write,
            scratch=outside.scratch,
            online=self._online,
            own_user=self.sandbox.own_user,
            no_namespaces=self.sandbox.no_namespaces,
        )

    def _options(self) -> list[str]:
        """Of `confine`."""
        options = ["--folder", str(self.inside.scratch)]
        options += ["--limit", "core=0", "--limit", f"nofile={_OPEN_FILES}"]
        options += ["--limit", f"fsize={self.limits.file_size}"]
        if self.sandbox.counts_processes:
            options += ["--limit", f"nproc={self.limits.processes}"]
        if self.sandbox.own_user:
            options += ["--user", str(self._user)]
        return options + self._landlock()

    def _landlock(self) -> list[str]:
        if self.sandbox.kind is not SandboxKind.LANDLOCK:
            return []
        options = ["--landlock"]
        if not self._online:
            options += ["--unshare"] if self.sandbox.own_network else []
            options += ["--no-tcp"] if self.sandbox.no_tcp else []
        read = [*system_files.readable(online=self._online), *system_files.KERNEL]
        read += [self.outside.config, *self.layers.values()]
        write = [*system_files.DEVICES, self.outside.status.parent]
        write += [self.outside.captured, self.outside.scratch]
        for option, paths in (("--read", read), ("--write", write)):
            options += [word for path in paths for word in (option, str(path))]
        return options

    def _confine(self) -> Path:
        is_bubblewrap = self.sandbox.kind is SandboxKind.BUBBLEWRAP
        return _INSIDE / "confine.py" if is_bubblewrap else Path(confine.__file__)

    def _writable(self) -> tuple[Path, ...]:
        outside = self.outside
        shared_memory = self.folder / _SHARED_MEMORY
        return (outside.scratch, outside.status.parent, outside.captured, shared_memory)

    @property
    def _online(self) -> bool:
        return self.network is not Network.NONE

    @property
    def _user(self) -> int:
        """The same at every start, as the files in its folder are its own."""
        digest = sha256(os.fsencode(self.folder)).digest()
        return _FIRST_USER + int.from_bytes(digest[:4], sys.byteorder) % _USERS


def _places(layers: Mapping[LayerKind, Path], folder: Path) -> Places:
    return Places(layers, folder / SCRATCH, folder / CONFIG, folder / STATUS, folder / CAPTURED)
