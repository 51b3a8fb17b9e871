"""Local files on their way to the server: which ones, and the path each gets there."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from pydantic import TypeAdapter, ValidationError

from modelyard.domain.values import RelativePath
from modelyard.errors import InvalidRequest

StrPath = str | os.PathLike[str]

_PLACE: TypeAdapter[str] = TypeAdapter(RelativePath)


@dataclass(frozen=True, slots=True)
class LocalFile:
    """One file to send; a stream has no size and can be read only once."""

    place: str
    """Path it gets in the model or the image."""
    source: Path | BinaryIO
    size: int | None


def collect(path: StrPath) -> list[LocalFile]:
    """The file, or every file of the folder under its path inside the folder.

    A link inside a folder is followed when it leads to a file of the same folder.

    Raises:
        InvalidRequest: Nothing is there, the folder is empty, a link leads out of it, or a name
            or a kind of file cannot be stored.
    """
    root = Path(path)
    try:
        mode = root.stat().st_mode
    except OSError as error:
        raise InvalidRequest(
            f"cannot read {_shown(root)}: {error.strerror}",
            hint="give the path of an existing file or folder",
        ) from error
    if stat.S_ISDIR(mode):
        return _folder(root)
    return [_file(root, root.name or root.resolve().name, mode)]


def from_stream(stream: BinaryIO, name: str | None) -> LocalFile:
    """A file whose bytes come from an open binary stream.

    Raises:
        InvalidRequest: The stream is text, or there is no name for the file.
    """
    found = name or getattr(stream, "name", None)
    if not isinstance(found, str) or not found:
        raise InvalidRequest(
            "the stream has no file name", hint="give one: `file_name='model.pkl'`"
        )
    return LocalFile(_checked(name or os.path.basename(found)), stream, None)


def code_files(
    script: StrPath | None, others: Sequence[StrPath]
) -> tuple[str | None, list[LocalFile]]:
    """The scoring script's place, if there is one, and it together with the files it needs.

    Paths are kept relative to the script's folder, so that imports and file names in the script
    mean the same as on this machine; what is elsewhere stands beside the script under its own name,
    and so does everything where there is no script.

    Raises:
        InvalidRequest: A file is missing, or two would get the same place.
    """
    own = None if script is None else _script_file(script)
    home = None if script is None else Path(os.path.abspath(script)).parent
    places = {} if own is None else {own.place: own}
    for other in others:
        for file in _beside(home, other):
            _add(places, file)
    return None if own is None else own.place, list(places.values())


def _script_file(script: StrPath) -> LocalFile:
    collected = collect(script)
    if Path(script).is_dir():
        raise InvalidRequest(
            f"the scoring script {_shown(Path(script))} is a folder",
            hint="give the file that has `init()` and `run()`, and the folder as a further file",
        )
    return collected[0]


def _beside(home: Path | None, path: StrPath) -> Iterator[LocalFile]:
    absolute = Path(os.path.abspath(path))
    if home is not None and absolute.is_relative_to(home):
        prefix = PurePosixPath(*absolute.relative_to(home).parts)
    else:
        prefix = PurePosixPath(absolute.name)
    is_folder = absolute.is_dir()
    for file in collect(absolute):
        if "__pycache__" in file.place.split("/"):
            continue
        place = prefix / file.place if is_folder else prefix
        yield LocalFile(_checked(str(place)), file.source, file.size)


def _add(places: dict[str, LocalFile], file: LocalFile) -> None:
    known = places.setdefault(file.place, file)
    if not os.path.samefile(_path(known), _path(file)):
        raise InvalidRequest(
            f"{_shown(_path(known))} and {_shown(_path(file))} would both become `{file.place}`",
            hint="rename one, or put both below the folder of the scoring script",
        )


def _path(file: LocalFile) -> Path:
    assert isinstance(file.source, Path)
    return file.source


def _folder(root: Path) -> list[LocalFile]:
    inside = root.resolve()
    files = [
        _member(path, str(PurePosixPath(path.relative_to(root))), inside) for path in _walk(root)
    ]
    if not files:
        raise InvalidRequest(
            f"the folder {_shown(root)} has no files", hint="give a folder with files in it"
        )
    return files


def _walk(folder: Path) -> Iterator[Path]:
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path))
        else:
            yield Path(entry.path)


def _member(path: Path, place: str, inside: Path) -> LocalFile:
    if path.is_symlink():
        target = path.resolve()
        if not (target.is_file() and target.is_relative_to(inside)):
            raise InvalidRequest(
                f"{_shown(path)} is a link that leads out of the folder or to no file",
                hint="put the file itself there, such as with `cp -rL <folder> <copy>`",
            )
        path = target
    return _file(path, place, path.stat().st_mode)


def _file(path: Path, place: str, mode: int) -> LocalFile:
    if not stat.S_ISREG(mode):
        raise InvalidRequest(
            f"{_shown(path)} is not a regular file", hint="take it out of the folder"
        )
    return LocalFile(_checked(place), path, path.stat().st_size)


def _checked(place: str) -> str:
    try:
        return _PLACE.validate_python(place)
    except ValidationError:
        raise InvalidRequest(
            f"the file name {place[:200]!r} cannot be stored",
            hint="names are printable, without backslashes, at most 255 bytes each and 1,024 in "
            "all; rename it",
        ) from None


def _shown(path: Path) -> str:
    return f"`{path}`"
