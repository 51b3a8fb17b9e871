"""What a scoring script needs: requirement lines, out of the files in which people keep them.

Text in, lines out. The client reads files with it before anything is sent; the server checks again
what arrives. Only named packages from the package index are accepted, because only those can be
locked with hashes; everything else is refused with what to do instead.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator
from typing import Any, NoReturn

import yaml
from packaging.requirements import InvalidRequirement, Requirement

from modelyard.errors import InvalidRequest

_COMMENT = re.compile(r"(^|\s+)#.*$")
_OPTION_BEHIND = re.compile(r"\s--[a-z]")
_REMOTE = re.compile(r"^(git|hg|svn|bzr)\+|://")
_LOCAL = re.compile(r"^(\.{0,2}/|~|\.$)|\.(whl|zip|tar\.gz|tar\.bz2)$")
_CONDA_NAME = re.compile(r"^(?:[\w.-]+::)?\s*([\w.-]+)")
_CONDA_PROVIDED = frozenset({"python", "pip"})
_SHOWN = 200

_FILES = "give a requirements.txt, a conda .yml or a pyproject.toml, or a list of lines"


def parse_lines(lines: Iterable[str]) -> tuple[str, ...]:
    """Check requirement lines; empty ones and comments are left out.

    Raises:
        InvalidRequest: A line is not a requirement that can be locked; says which and why.
    """
    return tuple(_requirements((f"line {number}", line) for number, line in enumerate(lines, 1)))


def read_requirements(name: str, text: str) -> tuple[str, ...]:
    """The requirement lines in the text of a file, whose name tells its form.

    Raises:
        InvalidRequest: The file is malformed, or has something that cannot be locked.
    """
    if name == "pyproject.toml":
        return _read_pyproject(text)
    if name.endswith((".yml", ".yaml")):
        return _read_conda(name, text)
    if name.endswith(".toml"):
        raise InvalidRequest(f"`{name}` is not a requirements file", hint=_FILES)
    return tuple(_requirements(_numbered(name, text)))


def _numbered(name: str, text: str) -> Iterator[tuple[str, str]]:
    """Every logical line with where it begins; a backslash at the end continues a line."""
    begun, start = "", 0
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        start = start if begun else number
        if line.endswith("\\"):
            begun += line[:-1] + " "
            continue
        yield f"`{name}` line {start}", begun + line
        begun = ""
    yield f"`{name}` line {start}", begun


def _requirements(lines: Iterable[tuple[str, str]]) -> Iterator[str]:
    for where, line in lines:
        text = _COMMENT.sub("", line).strip()
        if text:
            yield _check(where, text)


def _check(where: str, text: str) -> str:
    if text.startswith("-"):
        _refuse_option(where, text)
    if _OPTION_BEHIND.search(text):
        _refuse_option(where, text[text.index(" --") :].strip())
    if _REMOTE.search(text):
        _refuse_remote(where, text)
    if _LOCAL.search(text):
        _refuse_local(where, text)
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        raise InvalidRequest(
            f"{where}: `{text[:_SHOWN]}` is not a requirement: {str(error).splitlines()[0]}",
            hint="write a package name, and versions if they matter, such as `scikit-learn>=1.7`",
        ) from error
    if requirement.url is not None:
        _refuse_remote(where, text)
    return text


def _refuse_option(where: str, option: str) -> NoReturn:
    # A short option may have its value attached: `-rbase.txt`.
    name = re.split(r"[\s=]", option if option.startswith("--") else option[:2], maxsplit=1)[0]
    hints = {
        "-r": "put the lines of that file into this one",
        "-c": "put the versions into the requirement lines themselves",
        "-e": "add the folder to the image's files, so that the script can import it",
        "--hash": "leave hashes out: every image is locked with hashes of its own",
        "--index-url": "set the package index on the server, with UV_DEFAULT_INDEX",
        "--extra-index-url": "set more package indexes on the server, with UV_INDEX",
        "--find-links": "set MODELYARD_WHEELS on the server to a folder of wheels",
    }
    long = {
        "--requirement": "-r", "--constraint": "-c", "--editable": "-e",
        "-i": "--index-url", "-f": "--find-links",
    }  # fmt: skip
    raise InvalidRequest(
        f"{where}: the option `{name[:_SHOWN]}` is not accepted, only requirements are",
        hint=hints.get(long.get(name, name), "leave it out"),
    )


def _refuse_remote(where: str, text: str) -> NoReturn:
    raise InvalidRequest(
        f"{where}: `{_without_credentials(text)[:_SHOWN]}` is an address; "
        "only packages from the package index are accepted",
        hint="name a released version, or add the package's folder to the image's files",
    )


def _refuse_local(where: str, text: str) -> NoReturn:
    raise InvalidRequest(
        f"{where}: `{text[:_SHOWN]}` is a path; only packages from the package index are accepted",
        hint="add the package's folder to the image's files, or put its wheel on the index",
    )


def _without_credentials(text: str) -> str:
    return re.sub(r"//[^/@\s]*@", "//", text)


def _read_conda(name: str, text: str) -> tuple[str, ...]:
    document = _load_yaml(name, text)
    dependencies = document.get("dependencies") if isinstance(document, dict) else None
    if not isinstance(dependencies, list):
        raise InvalidRequest(f"`{name}` has no list of `dependencies`", hint=_FILES)
    _refuse_conda_packages(name, [entry for entry in dependencies if not isinstance(entry, dict)])
    lines: list[tuple[str, str]] = []
    for entry in dependencies:
        if isinstance(entry, dict):
            lines += _pip_part(name, entry)
    return tuple(_requirements(lines))


def _load_yaml(name: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        raise InvalidRequest(f"`{name}` is not YAML{where}", hint=_FILES) from error
    except RecursionError as error:
        raise InvalidRequest(f"`{name}` is nested too deeply", hint=_FILES) from error


def _refuse_conda_packages(name: str, entries: list[Any]) -> None:
    """Conda packages cannot be locked from the package index; Python and pip are there anyway."""
    packages = []
    for entry in entries:
        match = _CONDA_NAME.match(str(entry))
        if match is None or match[1].lower() not in _CONDA_PROVIDED:
            packages.append(str(entry)[:_SHOWN])
    if packages:
        raise InvalidRequest(
            f"`{name}` has conda packages, which cannot be installed: {', '.join(packages)}",
            hint="move them below `pip:`, under their names on the package index",
            details={"packages": packages},
        )


def _pip_part(name: str, entry: dict[Any, Any]) -> Iterator[tuple[str, str]]:
    lines = entry.get("pip")
    if set(entry) != {"pip"} or not isinstance(lines, list):
        raise InvalidRequest(
            f"`{name}` has `dependencies` that are neither a package nor a list below `pip:`"
        )
    for number, line in enumerate(lines, 1):
        yield f"`{name}` pip entry {number}", str(line)


def _read_pyproject(text: str) -> tuple[str, ...]:
    project = _project_table(text)
    if "dependencies" in project.get("dynamic", ()):
        raise InvalidRequest(
            "`pyproject.toml` computes its dependencies when it is built (`dynamic`)",
            hint="write them to a requirements.txt and give that",
        )
    dependencies = project.get("dependencies", [])
    if not isinstance(dependencies, list):
        raise InvalidRequest("`dependencies` in `pyproject.toml` is not a list")
    return tuple(
        _requirements(
            (f"`pyproject.toml` dependency {number}", str(line))
            for number, line in enumerate(dependencies, 1)
        )
    )


def _project_table(text: str) -> dict[str, Any]:
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InvalidRequest(f"`pyproject.toml` is not TOML: {error}", hint=_FILES) from error
    project = document.get("project")
    if not isinstance(project, dict):
        raise InvalidRequest(
            "`pyproject.toml` has no `[project]` table to read `dependencies` from",
            hint="write the dependencies there, or to a requirements.txt and give that",
        )
    return project
