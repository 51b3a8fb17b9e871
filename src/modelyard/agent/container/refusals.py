"""Why a container could not be run, as plain documents in the form of `domain.cause.Cause`."""

from __future__ import annotations

from typing import Any

from modelyard.agent.container.spec import ContainerSpec
from modelyard.agent.engine.problems import EngineProblem, EngineRefused, NoSuchObject

_NOT_THERE = ("no such file or directory", "not found", "permission denied", "is a directory")


def why(problem: EngineProblem, spec: ContainerSpec) -> dict[str, Any]:
    """The cause of a start that failed."""
    text = problem.message.lower()
    if isinstance(problem, NoSuchObject) and "image" in text:
        return _cause(
            "image_unavailable",
            f"The container engine has no image `{spec.body['Image']}` any more.",
            problem,
            "The agent brings it there again by itself; its log says more.",
        )
    if "exec format error" in text:
        return _cause(
            "exec_format",
            f"{_command(spec)} is made for another kind of processor than this host has.",
            problem,
            "Build the image for this host's platform, or run it on a host of its own.",
        )
    if isinstance(problem, EngineRefused) and "exec" in text and _is_missing(text):
        return _cause(
            "entrypoint_missing",
            f"The image has nothing to run at {_command(spec)}.",
            problem,
            "Its base lacks the Python that it names. Build it again on another base.",
        )
    return _cause(problem.cause, problem.message, problem, problem.hint)


def _is_missing(text: str) -> bool:
    return any(words in text for words in _NOT_THERE)


def _command(spec: ContainerSpec) -> str:
    return f"`{spec.body['Entrypoint'][0]}`"


def _cause(code: str, message: str, problem: EngineProblem, fix: str) -> dict[str, Any]:
    evidence = [f"engine: {spec_line}" for spec_line in problem.message.splitlines()[:5]]
    return {"code": code, "message": message, "evidence": evidence, "fix": fix}
