"""Why a container could not be run, as plain documents in the form of `domain.cause.Cause`."""

from __future__ import annotations

from typing import Any

from modelyard.agent.container.spec import ContainerSpec
from modelyard.agent.engine.problems import EngineProblem, EngineRefused, NoSuchObject

_WRONG_FORMAT = "exec format error"
_NOT_THERE = ("no such file or directory", "not found", "permission denied", "is a directory")


def why(problem: EngineProblem, spec: ContainerSpec) -> dict[str, Any]:
    """The cause of a start that failed."""
    text = problem.message.lower()
    if isinstance(problem, NoSuchObject) and "image" in text:
        return _cause(
            "image_unavailable",
            f"The container engine has no image `{spec.body['Image']}` any more.",
            problem.message,
            "The agent brings it there again by itself; its log says more.",
        )
    if _WRONG_FORMAT in text:
        return _wrong_format(problem.message, spec)
    if isinstance(problem, EngineRefused) and "exec" in text and _is_missing(text):
        return _cause(
            "entrypoint_missing",
            f"The image has nothing to run at {_command(spec)}.",
            problem.message,
            "Its base lacks the Python that it names. Build it again on another base.",
        )
    return _cause(problem.cause, problem.message, problem.message, problem.hint)


def from_output(output: bytes, spec: ContainerSpec) -> dict[str, Any] | None:
    """The cause of an end before the runtime began, where the last output tells it."""
    text = output.decode(errors="replace")
    return _wrong_format(text, spec) if _WRONG_FORMAT in text else None


def _wrong_format(said: str, spec: ContainerSpec) -> dict[str, Any]:
    return _cause(
        "exec_format",
        f"{_command(spec)} is made for another kind of processor than this host has.",
        said,
        "Build the image for this host's platform, or run it on a host of its own.",
    )


def _is_missing(text: str) -> bool:
    return any(words in text for words in _NOT_THERE)


def _command(spec: ContainerSpec) -> str:
    return f"`{spec.body['Entrypoint'][0]}`"


def _cause(code: str, message: str, said: str, fix: str) -> dict[str, Any]:
    evidence = [f"engine: {line}" for line in said.splitlines()[-5:]]
    return {"code": code, "message": message, "evidence": evidence, "fix": fix}
