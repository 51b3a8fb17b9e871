"""Makes an installed environment the same everywhere, and compiles it.

Called by `environment` between the installer and the writing of the layer.
"""

from __future__ import annotations

import csv
import io
import os
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from packaging.utils import canonicalize_name

from modelyard.images.bytecode import compile_sources
from modelyard.images.launch import ENVIRONMENT_ROOT, Interpreter, base_python
from modelyard.images.layers import files_below
from modelyard.images.slimming import superfluous

_MACHINE_FILES = frozenset({".lock"})
_MACHINE_RECORDS = frozenset({"uv_cache.json"})


def compile_tree(root: Path, interpreter: Interpreter) -> str:
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


def normalise(root: Path, slim: bool) -> dict[str, int]:
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
