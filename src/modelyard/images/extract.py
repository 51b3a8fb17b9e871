"""Writes the members of a layer below one folder, whatever they are called.

Every step goes through a folder descriptor and follows no link; nothing that exists is replaced.
Called by `layers.LayerCache` only.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from modelyard.images.tar import Member

_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class TreeWriter:
    """Files and folders below `root`; files come out read-only.

    Keeps the descriptors from `root` down to the folder that was written last, because members
    come folder by folder.
    """

    def __init__(self, root: Path) -> None:
        self._open: list[tuple[str, int]] = [("", os.open(root, _OPEN_FOLDER))]

    def __enter__(self) -> TreeWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close_below(0)

    def write(self, member: Member, content: Iterable[memoryview]) -> None:
        """Make the member; its folder must have been written before."""
        folder, _, name = member.path.rpartition("/")
        below = self._descend(folder.split("/") if folder else [])
        if member.folder:
            os.mkdir(name, 0o755, dir_fd=below)
            self._enter(name)
            return
        mode = 0o555 if member.executable else 0o444
        descriptor = os.open(name, _NEW_FILE, mode, dir_fd=below)
        try:
            os.fchmod(descriptor, mode)  # whatever the umask is
            for piece in content:
                _write_all(descriptor, piece)
        finally:
            os.close(descriptor)

    def _descend(self, parts: list[str]) -> int:
        """Descriptor of the folder with these parts below the root."""
        shared = 0
        while shared < min(len(parts), len(self._open) - 1) and (
            self._open[shared + 1][0] == parts[shared]
        ):
            shared += 1
        self._close_below(shared + 1)
        for part in parts[shared:]:
            self._enter(part)
        return self._open[-1][1]

    def _enter(self, name: str) -> None:
        descriptor = os.open(name, _OPEN_FOLDER, dir_fd=self._open[-1][1])
        self._open.append((name, descriptor))
        os.fchmod(descriptor, 0o755)

    def _close_below(self, depth: int) -> None:
        while len(self._open) > depth:
            os.close(self._open.pop()[1])


def _write_all(descriptor: int, piece: memoryview) -> None:
    while piece:
        piece = piece[os.write(descriptor, piece) :]
