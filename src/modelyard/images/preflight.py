"""What can be found wrong with a build before anything is built."""

from __future__ import annotations

import ast
import unicodedata
from collections.abc import Iterator

from modelyard.blobs.base import BlobStore
from modelyard.errors import InvalidRequest, InvalidScript
from modelyard.schemas import BuildImage

_LARGEST_SCRIPT = 1 << 20
_NO_RUN = (
    "define `def run(data): …`, which gets the body of a request and returns the answer; "
    "`def init(): …` may load the model before"
)


def check_inputs(request: BuildImage, blobs: BlobStore) -> None:
    """Check the files of a build, and its scoring script, if it has one, without running it.

    Raises:
        InvalidRequest: Two files cannot stand beside each other.
        InvalidScript: The script is missing, cannot be parsed, or defines no `run`.
        NotFound: A file was not uploaded.
    """
    _check_paths([file.path for file in request.files])
    digests = {file.path: file.digest for file in request.files}
    for digest in digests.values():
        blobs.size(digest)
    script = request.script
    if script is None:
        return
    if script not in digests:
        raise InvalidScript(
            f"the scoring script `{script}` is not among the files",
            hint=f"upload it with the others, which are: {_some(sorted(digests))}",
        )
    _check_script(script, _read(script, digests[script], blobs))


def _check_paths(paths: list[str]) -> None:
    """No two files in one place, and none where another one needs a folder."""
    taken: dict[str, str] = {}
    for path in paths:
        if (other := taken.get(_place(path))) is not None:
            raise InvalidRequest(
                f"the files `{other}` and `{path}` would stand in one place",
                hint="rename one: names that differ only in case are one on some systems",
            )
        taken[_place(path)] = path
    for path in paths:
        for folder in _folders(_place(path)):
            if folder in taken:
                raise InvalidRequest(
                    f"`{taken[folder]}` is a file, and `{path}` needs it to be a folder",
                    hint="rename one of them",
                )


def _place(path: str) -> str:
    return unicodedata.normalize("NFC", path).casefold()


def _folders(path: str) -> Iterator[str]:
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def _some(names: list[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def _read(script: str, digest: str, blobs: BlobStore) -> str:
    if not script.endswith(".py"):
        raise InvalidScript(
            f"the scoring script `{script}` is not a `.py` file", hint="name a Python file"
        )
    if (size := blobs.size(digest)) > _LARGEST_SCRIPT:
        raise InvalidScript(
            f"the scoring script `{script}` has {size} bytes, more than a script can have",
            hint="move data out of it, into files beside it",
        )
    try:
        return b"".join(blobs.open(digest)).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidScript(
            f"the scoring script `{script}` is not UTF-8 text: {error.reason} "
            f"at byte {error.start}",
            hint="save it as UTF-8",
        ) from error


def _check_script(script: str, source: str) -> None:
    if not _defines(_parse(script, source), "run"):
        raise InvalidScript(f"the scoring script `{script}` defines no `run`", hint=_NO_RUN)


def _parse(script: str, source: str) -> ast.Module:
    try:
        return ast.parse(source, script)
    except SyntaxError as error:
        raise _syntax_error(script, error) from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise InvalidScript(
            f"the scoring script `{script}` cannot be parsed: {error or type(error).__name__}",
            hint="correct it: it is not Python source, or nested too deeply",
        ) from error


def _syntax_error(script: str, error: SyntaxError) -> InvalidScript:
    line, column, text = error.lineno or 1, error.offset or 1, (error.text or "").strip()
    return InvalidScript(
        f"the scoring script `{script}` has a syntax error at line {line}, column {column}: "
        f"{error.msg}: `{text[:200]}`",
        hint="correct this line; `python -m py_compile` finds the same",
        details={"file": script, "line": line, "column": column, "text": text[:200]},
    )


def _defines(module: ast.Module, name: str) -> bool:
    """Whether the module may have this name once it is imported."""
    return any(name in _names(statement) for statement in _top_level(module.body))


def _top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that run on import, those inside `if`, `try`, `with` and loops too."""
    waiting = [*body]
    while waiting:
        statement = waiting.pop()
        yield statement
        if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            for block in _blocks(statement):
                waiting += block


def _blocks(statement: ast.stmt) -> Iterator[list[ast.stmt]]:
    for field in ("body", "orelse", "finalbody"):
        yield getattr(statement, field, [])
    for part in (*getattr(statement, "handlers", ()), *getattr(statement, "cases", ())):
        yield part.body


def _names(statement: ast.stmt) -> set[str]:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
        return {statement.name}
    if isinstance(statement, ast.Import | ast.ImportFrom):
        # What a star brings is known only when it is imported.
        names = {alias.asname or alias.name for alias in statement.names}
        return names | {"run"} if "*" in names else names
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        return {
            node.id
            for target in targets
            for node in ast.walk(target)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        }
    return set()
