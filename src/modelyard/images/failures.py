"""Turns what the package installer and the disk say into one typed cause.

Its words are matched where they are stable; what is not recognised is a clash for the resolver and
a failed installation for the rest, with the words themselves as evidence.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from modelyard.domain.cause import Cause, CauseCode
from modelyard.errors import BuildFailed, InsufficientStorage

_MOST_EVIDENCE = 30
_LONGEST_LINE = 500

_NAME = r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)"
_FULL = re.compile(r"No space left on device|os error 28\b|Disk quota exceeded")
_NO_SOLUTION = re.compile(r"No solution found when resolving")
_NOT_FOUND = re.compile(rf"\b{_NAME} was not found in the\b")
_NO_WHEEL = re.compile(rf"{_NAME}\S* ha(s|ve) no (usable wheels|wheels with a matching)")
_NO_VERSION = re.compile(
    rf"there is no version of {_NAME}"
    rf"|only (?P<only>[A-Za-z0-9][A-Za-z0-9._-]*)\S* is available and you require (?P=only)\b"
)
_INDEX_SILENT = re.compile(r"Failed to fetch|error sending request|dns error|Connection refused")


def build_failed(cause: Cause) -> BuildFailed:
    """The error that a build ends with, for this reason."""
    return BuildFailed(
        cause.message, hint=cause.fix, details={"cause": cause.model_dump(mode="json")}
    )


@contextmanager
def full_disk_as_cause() -> Iterator[None]:
    """A disk that is full is a reason a build can fail for, whoever met it."""
    try:
        yield
    except InsufficientStorage as error:
        raise _storage_full(error.message) from error
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise _storage_full(str(error)) from error


def _storage_full(seen: str) -> BuildFailed:
    return build_failed(
        Cause(
            code=CauseCode.STORAGE_FULL,
            message="The disk became full during the build.",
            evidence=(seen,),
            fix="Make room in the home folder of the server, then build again.",
        )
    )


def explain_lock(output: str, runtime: Sequence[str]) -> Cause:
    """Why requirements could not be locked.

    Args:
        output: What the resolver wrote.
        runtime: The requirements of the runtime, which are locked together with the user's.
    """
    text = _flat(output)
    if (cause := _outside(text, output)) is not None:
        return cause
    if match := _NOT_FOUND.search(text):
        return _unknown(match["name"], output)
    if match := _NO_WHEEL.search(text):
        return _no_wheel(match["name"], output)
    if match := _NO_VERSION.search(text):
        return _no_version(match["name"] or match["only"], output)
    if _NO_SOLUTION.search(text):
        return _clash(text, output, runtime)
    return _not_installed("The requirements could not be locked.", output)


def without_wheel(output: str) -> str | None:
    """The package that the resolver says has no wheel, if that is why it gave up."""
    match = _NO_WHEEL.search(_flat(output))
    return canonicalize_name(match["name"]) if match is not None else None


def explain_install(output: str) -> Cause:
    """Why locked packages could not be installed."""
    message = "The locked packages could not be installed."
    return _outside(_flat(output), output) or _not_installed(message, output)


def _outside(text: str, output: str) -> Cause | None:
    """What has nothing to do with the requirements: a full disk, a silent package index."""
    if _FULL.search(text):
        return Cause(
            code=CauseCode.STORAGE_FULL,
            message="The disk became full while packages were installed.",
            evidence=_evidence(output),
            fix="Make room in the home folder of the server, then build again.",
        )
    if _INDEX_SILENT.search(text):
        return Cause(
            code=CauseCode.INSTALL_FAILED,
            message="The package index did not answer.",
            evidence=_evidence(output),
            fix="Check the server's network, or set MODELYARD_WHEELS to a folder of wheels; "
            "then build again.",
        )
    return None


def _unknown(name: str, output: str) -> Cause:
    return Cause(
        code=CauseCode.UNKNOWN_REQUIREMENT,
        message=f"There is no package `{name}`.",
        evidence=_evidence(output),
        fix=f"Check the spelling of `{name}`; the name of a package may differ from the name "
        "it is imported by.",
    )


def _no_version(name: str, output: str) -> Cause:
    return Cause(
        code=CauseCode.UNKNOWN_REQUIREMENT,
        message=f"There is no version of `{name}` as it is required.",
        evidence=_evidence(output),
        fix=f"Ask for a version of `{name}` that exists, or for none in particular.",
    )


def _no_wheel(name: str, output: str) -> Cause:
    return Cause(
        code=CauseCode.NO_WHEEL,
        message=f"`{name}` has no wheel for the Python and the platform of the image.",
        evidence=_evidence(output),
        fix=f"Ask for another version of `{name}`, or build a wheel of it and put it on the "
        "package index or into the folder MODELYARD_WHEELS. For the host's own platform "
        "`--allow-sources` builds it from its sources.",
    )


def _clash(text: str, output: str, runtime: Sequence[str]) -> Cause:
    fix = "Loosen the versions in one of the requirements named above."
    involved = [line for line in runtime if _mentions(text, Requirement(line).name)]
    if involved:
        fix += f" The runtime itself needs {', '.join(involved)}."
    return Cause(
        code=CauseCode.REQUIREMENTS_CLASH,
        message="The requirements contradict each other.",
        evidence=_evidence(output),
        fix=fix,
    )


def _mentions(text: str, name: str) -> bool:
    return re.search(rf"(?<![\w.-]){re.escape(canonicalize_name(name))}(?![\w-])", text) is not None


def _not_installed(message: str, output: str) -> Cause:
    return Cause(
        code=CauseCode.INSTALL_FAILED,
        message=message,
        evidence=_evidence(output),
        fix="The installer's last lines say why; correct it and build again.",
    )


def _flat(output: str) -> str:
    """The text on one line: the installer breaks long sentences."""
    return re.sub(r"\s+", " ", output)


def _evidence(output: str) -> tuple[str, ...]:
    lines = [_without_credentials(line.strip())[:_LONGEST_LINE] for line in output.splitlines()]
    return tuple(line for line in lines if line)[-_MOST_EVIDENCE:]


def _without_credentials(line: str) -> str:
    return re.sub(r"://[^/@\s]+@", "://****@", line)
