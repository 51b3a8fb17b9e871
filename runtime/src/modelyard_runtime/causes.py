"""Why a replica did not start, or why it failed to score: typed, with the script's own lines.

The codes are those of `modelyard.domain.cause`, which this package must not import.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import traceback
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

from modelyard_runtime.offline import reached_for_network

IMPORT_FAILED = "import_failed"
PACKAGE_MISSING = "package_missing"
NO_RUN_FUNCTION = "no_run_function"
MODEL_FILE_MISSING = "model_file_missing"
INIT_RAISED = "init_raised"
INIT_EXITED = "init_exited"
NETWORK_NOT_ALLOWED = "network_not_allowed"
SAMPLE_FAILED = "sample_failed"
NEEDS_SCRIPT = "needs_script"
MODEL_NOT_LOADED = "model_not_loaded"

_MOST_LINES = 30
_LONGEST_LINE = 500
_MOST_FILES = 20

_DISTRIBUTIONS = {
    "Crypto": "pycryptodome",
    "PIL": "pillow",
    "attr": "attrs",
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python-headless",
    "dateutil": "python-dateutil",
    "google": "protobuf",
    "grpc": "grpcio",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}
"""Packages that are installed under another name than they are imported by."""


@dataclass(frozen=True, slots=True)
class Cause:
    """One reason, what was seen, and what to do about it."""

    code: str
    message: str
    evidence: tuple[str, ...] = ()
    fix: str = ""

    def to_json(self) -> dict[str, Any]:
        """The cause as the status file holds it."""
        return {**asdict(self), "evidence": list(self.evidence)}


class StartFailed(Exception):
    """The script could not be loaded; `cause` says why."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(cause.message)
        self.cause = cause


@dataclass(frozen=True, slots=True)
class Scene:
    """Where a script lives: what a cause needs to know to name files the way their author does."""

    code: str
    script: str
    models_root: str
    network: bool = True
    """Other hosts can be reached."""

    def evidence(self, error: BaseException) -> tuple[str, ...]:
        """The traceback's lines that belong to the user's own files, then the error itself."""
        lines = traceback.format_list(self._own_frames(error))
        lines += traceback.format_exception_only(error)
        text = "".join(lines).replace(self.code + os.sep, "")
        return tuple(line[:_LONGEST_LINE] for line in text.splitlines()[-_MOST_LINES:])

    def place(self, error: BaseException) -> str:
        """The last line of the user's own that was running, such as ` (score.py, line 3)`."""
        frames = self._own_frames(error)
        if not frames:
            return ""
        return f" ({os.path.relpath(frames[-1].filename, self.code)}, line {frames[-1].lineno})"

    def missing_model_file(self, error: BaseException) -> str | None:
        """The path below the models that a script asked for in vain, or `None`."""
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            return None
        if not isinstance(error.filename, str | bytes):
            return None
        path = os.path.abspath(os.fsdecode(error.filename))
        root = os.path.abspath(self.models_root)
        return os.path.relpath(path, root) if path.startswith(root + os.sep) else None

    def _own_frames(self, error: BaseException) -> traceback.StackSummary:
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if frame.filename.startswith(self.code + os.sep)]
        return traceback.StackSummary.from_list(own)


def import_failed(error: BaseException, scene: Scene) -> Cause:
    """The script, or something it imports, cannot be imported."""
    if isinstance(error, SystemExit):
        return _exited(error, scene, f"{scene.script} was imported")
    return (
        package_missing(error, scene)
        or _network_not_allowed(error, scene, scene.script)
        or _model_file_missing(error, scene)
        or Cause(
            IMPORT_FAILED,
            f"{scene.script} could not be imported: {_brief(error)}{scene.place(error)}.",
            scene.evidence(error),
            _import_fix(error),
        )
    )


def init_failed(error: BaseException, scene: Scene) -> Cause:
    """`init()` did not return."""
    if isinstance(error, SystemExit):
        return _exited(error, scene, "`init()` ran")
    return (
        package_missing(error, scene)
        or _network_not_allowed(error, scene, "`init()`")
        or _model_file_missing(error, scene)
        or Cause(
            INIT_RAISED,
            f"`init()` raised {_brief(error)}{scene.place(error)}.",
            scene.evidence(error),
            "Correct `init()` and build the image again. The files of the models are below the "
            "folder that the environment variable MODELYARD_MODEL_DIR names.",
        )
    )


def no_run_function(problem: str, scene: Scene) -> Cause:
    """There is no `run`, or not one that can be called with a request."""
    return Cause(
        NO_RUN_FUNCTION,
        f"{scene.script} {problem}.",
        (),
        "Define `def run(data):` in the scoring script; it gets each request and returns the "
        "answer. Several parameters get the members of a JSON object each; annotate them with what "
        "JSON can hold, such as `list`, a dataclass or `numpy.ndarray`.",
    )


def scoring_failed(error: BaseException, scene: Scene) -> Cause:
    """`run()` raised. The service goes on; the check start of an image ends with this."""
    if not scene.script:
        return Cause(
            SAMPLE_FAILED,
            f"The model raised {_brief(error)}.",
            scene.evidence(error),
            "Send what the model takes, or serve it with a scoring script (--script).",
        )
    return _network_not_allowed(error, scene, "`run()`") or Cause(
        SAMPLE_FAILED,
        f"`run()` raised {_brief(error)}{scene.place(error)}.",
        scene.evidence(error),
        "Correct `run()`, or send what it expects.",
    )


def _network_not_allowed(error: BaseException, scene: Scene, who: str) -> Cause | None:
    if scene.network or not reached_for_network(error):
        return None
    return Cause(
        NETWORK_NOT_ALLOWED,
        f"{who} reaches for the network, which it may not here{scene.place(error)}.",
        scene.evidence(error),
        "Put what it fetches into a model or among the files of the image. Or allow it, for the "
        "build as for the service: `--network outbound`, or `network: outbound` among the settings "
        "in a service file.",
    )


def _exited(error: SystemExit, scene: Scene, moment: str) -> Cause:
    return Cause(
        INIT_EXITED,
        f"The script ended the process with exit status {error.code!r} while {moment}"
        f"{scene.place(error)}.",
        scene.evidence(error),
        "Raise an error instead of calling `exit()`: it is then shown here.",
    )


def package_missing(error: BaseException, scene: Scene) -> Cause | None:
    """An import of a package failed that the image does not have; None for any other error."""
    if not isinstance(error, ModuleNotFoundError) or not error.name:
        return None
    package = error.name.partition(".")[0]
    if _is_installed(package):
        return None
    distribution = _DISTRIBUTIONS.get(package, package)
    return Cause(
        PACKAGE_MISSING,
        f"The package `{package}` is not in the image{scene.place(error)}.",
        scene.evidence(error),
        f"Add `{distribution}` to the requirements and build the image again; if `{package}` is a "
        f"file of yours, add that file to the image.",
    )


def _is_installed(package: str) -> bool:
    if package in sys.modules:
        return True
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False


def _model_file_missing(error: BaseException, scene: Scene) -> Cause | None:
    missing = scene.missing_model_file(error)
    if missing is None:
        return None
    present = _files_below(scene.models_root)
    return Cause(
        MODEL_FILE_MISSING,
        f"The script opens `{missing}`, which no model of the image holds{scene.place(error)}.",
        (*scene.evidence(error), *(f"in the image: {file}" for file in present)),
        "Open one of the files that the image holds, or register the model with that file and "
        "build the image again.",
    )


def _files_below(root: str) -> list[str]:
    files = (os.path.join(folder, name) for folder, _, names in os.walk(root) for name in names)
    return sorted(os.path.relpath(file, root) for file in islice(files, _MOST_FILES))


def _brief(error: BaseException) -> str:
    text = str(error).partition("\n")[0].rstrip(".")[:_LONGEST_LINE]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _import_fix(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return "Correct the syntax error and build the image again."
    if isinstance(error, ModuleNotFoundError) and error.name:
        package = error.name.partition(".")[0]
        return (
            f"The installed version of `{package}` has no `{error.name}`: require the version "
            f"that the script was written for, or change the import."
        )
    return "Correct the line shown and build the image again."
