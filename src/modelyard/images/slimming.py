"""What an environment can do without: its packages' own tests, headers, stubs and documentation.

Called by `environment` for a build with `--slim`. By rules and not by trial, so that the same lock
gives the same layer whatever the script imports. Nothing goes that a source which stays imports or
reads; the check start shows the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

_TESTS = ("tests", "test")
_TEST_FILE = re.compile(r"test_.*\.py|.*_test\.py|conftest\.py")
_DOCUMENTS = ("doc", "docs", "man")
_HEADERS = frozenset({".h", ".hpp", ".hxx", ".hh", ".cuh", ".pxd", ".pxi", ".a", ".pdb"})
_STUB = ".pyi"
_IMPORT = re.compile(
    rb"^[ \t]*(?:from[ \t]+(\.*[\w.]*)[ \t]+import[ \t]+([^#\n]*)|import[ \t]+([\w., \t]+))",
    re.MULTILINE,
)
_STUB_IS_READ = b"attach_stub"
"""How a package says that its stub tells what it has, as those with lazy imports do."""


def superfluous(root: Path) -> Iterator[Path]:
    """Files below `root` that nothing which stays needs, in no order."""
    files = [path for path in root.rglob("*") if path.is_file() and not _is_metadata(path)]
    folders = _test_folders(root, files)
    folders -= _imported(root, files, folders)
    documents = _document_folders(root, files)
    for path in files:
        inside = set(path.relative_to(root).parents)
        if inside & folders or inside & documents or _is_for_compilers(path):
            yield path


def _is_metadata(path: Path) -> bool:
    return any(part.endswith(".dist-info") for part in path.parts)


def _test_folders(root: Path, files: Iterable[Path]) -> set[Path]:
    """Folders of that name in which there is a test: others are packages that are called so."""
    found = set()
    for path in files:
        if not _TEST_FILE.fullmatch(path.name):
            continue
        for folder in path.relative_to(root).parents:
            if folder.name in _TESTS and folder.parent.name:
                found.add(folder)
    return found


def _imported(root: Path, files: Iterable[Path], folders: set[Path]) -> set[Path]:
    """Those that a source outside of them imports, and what these are inside of."""
    wanted = set()
    for path in files:
        place = path.relative_to(root)
        if path.suffix == ".py" and not folders & set(place.parents):
            content = path.read_bytes()
            if b"test" in content:
                wanted |= {named for named in _named(place, content) if named in folders}
    return {folder for folder in folders if wanted & {folder, *folder.parents}} | {
        folder for folder in folders if any(folder in one.parents for one in wanted)
    }


def _named(place: Path, content: bytes) -> Iterator[Path]:
    """Folders that the import statements of a source may mean."""
    for match in _IMPORT.finditer(content):
        if match[3] is not None:
            modules = [part.split()[0] for part in match[3].decode().split(",") if part.split()]
        else:
            module = match[1].decode()
            names = re.findall(r"\w+", match[2].decode("utf-8", "replace"))
            joint = "" if module.endswith(".") else "."
            modules = [module, *(f"{module}{joint}{name}" for name in names)]
        for module in modules:
            yield from _prefixes(_folder(place, module))


def _folder(place: Path, module: str) -> PurePosixPath:
    dots = len(module) - len(module.lstrip("."))
    begin = place.parents[dots - 1] if 0 < dots <= len(place.parents) else Path()
    return PurePosixPath(begin, *filter(None, module.split(".")))


def _prefixes(folder: PurePosixPath) -> Iterator[Path]:
    yield Path(folder)
    yield from map(Path, folder.parents)


def _document_folders(root: Path, files: Iterable[Path]) -> set[Path]:
    """Folders of documents without a source in them: `docs` may be the name of a package."""
    named, packages = set(), set()
    for path in files:
        inside = {
            folder
            for folder in path.relative_to(root).parents
            if folder.name in _DOCUMENTS and folder.parent.name
        }
        named |= inside
        if path.suffix in (".py", ".so", ".json"):
            packages |= inside
    return named - packages


def _is_for_compilers(path: Path) -> bool:
    if path.suffix != _STUB:
        return path.suffix in _HEADERS
    source = path.with_suffix(".py")
    return not (source.is_file() and _STUB_IS_READ in source.read_bytes())
