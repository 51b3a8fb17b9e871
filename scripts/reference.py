"""Writes the reference pages that are made from code: settings, errors, causes, REST.

`python scripts/reference.py` writes them; a test fails when one is not what this would write.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import FastAPI

import modelyard.errors
from modelyard.api import create_app
from modelyard.api.access import PUBLIC
from modelyard.api.errors import STATUS
from modelyard.domain.cause import CauseCode
from modelyard.settings import Settings

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"
CAUSES = {
    CauseCode.INVALID_REQUIREMENT: "A requirement line cannot be read.",
    CauseCode.UNKNOWN_REQUIREMENT: "No package of this name, or no such version.",
    CauseCode.REQUIREMENTS_CLASH: "The requirements contradict each other or the runtime's own.",
    CauseCode.NO_WHEEL: "A package has no wheel for the image's Python and platform.",
    CauseCode.INSTALL_FAILED: "The locked wheels could not be laid out.",
    CauseCode.BASE_UNSUITABLE: "An image cannot stand on the base that was named.",
    CauseCode.STORAGE_FULL: "The disk or the blob store is full.",
    CauseCode.INTERRUPTED: "Something ended the build from outside.",
    CauseCode.IMPORT_FAILED: "The scoring script raised while it was imported.",
    CauseCode.PACKAGE_MISSING: "The script imports a package that the image does not have.",
    CauseCode.NO_RUN_FUNCTION: "The script defines no `run`.",
    CauseCode.MODEL_FILE_MISSING: "The script opened a model file that is not in the image.",
    CauseCode.INIT_RAISED: "`init()` raised an exception.",
    CauseCode.INIT_EXITED: "`init()` ended the process.",
    CauseCode.NETWORK_NOT_ALLOWED: "The script reaches for a network that its sandbox keeps away.",
    CauseCode.SAMPLE_FAILED: "The sample got an error instead of an answer.",
    CauseCode.NEEDS_SCRIPT: "The model cannot be served without a scoring script.",
    CauseCode.MODEL_NOT_LOADED: "The model's file could not be loaded; there is no script.",
    CauseCode.INIT_HUNG: "The replica was not ready within `startup_timeout`.",
    CauseCode.OUT_OF_MEMORY: "The replica went above its `memory`.",
    CauseCode.KILLED: "A signal ended the replica.",
    CauseCode.EXITED: "The replica ended by itself.",
    CauseCode.PORT_TAKEN: "Something else listens on the gateway's port.",
    CauseCode.CERTIFICATE_UNUSABLE: "The gateway's certificate, its key or its files for "
    "clients are no good.",
    CauseCode.CERTIFICATE_EXPIRES: "The gateway's certificate ends soon, or has ended.",
    CauseCode.IMAGE_UNAVAILABLE: "The image could not be brought to the host or into its engine.",
    CauseCode.WRONG_PLATFORM: "The image was built for another system or processor.",
    CauseCode.SIGNATURE_INVALID: "No trusted key signed the image as it is.",
    CauseCode.NO_BASE: "The image has no root file system to stand on in a container.",
    CauseCode.NO_ENGINE: "No container engine answers on the host.",
    CauseCode.ENGINE_FORBIDDEN: "The agent's user may not use the container engine.",
    CauseCode.ENGINE_FAILED: "The container engine refused, or answered nonsense.",
    CauseCode.EXEC_FORMAT: "The image's Python is for another kind of processor.",
    CauseCode.ENTRYPOINT_MISSING: "The image's base lacks the Python that it names.",
    CauseCode.NO_SANDBOX: "`MODELYARD_SANDBOX` is `required`, and the host has no sandbox.",
    CauseCode.HOST_FULL: "The host has no memory or cores for more replicas.",
    CauseCode.CANDIDATE_WORSE: "What is new fails more, is slower, or answers otherwise than what "
    "served before, which serves again.",
    CauseCode.STARTING: "Nothing is wrong: replicas are on their way.",
    CauseCode.KEY_REFUSED: "Replicas are ready, but callers send keys that are not valid.",
    CauseCode.CERTIFICATE_REFUSED: "Replicas are ready, but callers show no certificate that is "
    "taken.",
    CauseCode.AGENT_GONE: "The agent does not report; replicas go on serving.",
    CauseCode.INTERNAL: "A bug in Modelyard.",
}


def settings_page() -> str:
    """Every setting."""
    lines = [
        "# Settings",
        "",
        "Environment variables, read by the command line, the SDK and the server they start.",
        "",
        "| variable | default | meaning |",
        "|---|---|---|",
    ]
    for name, field in Settings.model_fields.items():
        default = "`~/.modelyard`" if name == "home" else f"`{field.default}`"
        meaning = " ".join((field.description or "").split())
        lines.append(
            f"| `MODELYARD_{name.upper()}` | {'' if default == '`None`' else default} | {meaning} |"
        )
    return "\n".join(lines) + "\n"


def errors_page() -> str:
    """Every error code."""
    lines = [
        "# Errors",
        "",
        "One tree. The REST interface answers with `code`, `message`, `hint` and `details`; the",
        "SDK raises the class; the command line prints message and hint and exits with 1 (2 for",
        "wrong usage, 130 after Ctrl-C).",
        "",
        "| code | class | below | HTTP status | meaning |",
        "|---|---|---|---|---|",
    ]
    for code, error in modelyard.errors.BY_CODE.items():
        below = error.__mro__[1].__name__
        meaning = (inspect.getdoc(error) or "").splitlines()[0].replace("``", "`")
        lines.append(
            f"| `{code}` | `{error.__name__}` | {'' if below == 'Exception' else f'`{below}`'} "
            f"| {STATUS[code]} | {meaning} |"
        )
    return "\n".join(lines) + "\n"


def causes_page() -> str:
    """Every cause."""
    lines = [
        "# Causes",
        "",
        "What `modelyard why` and a failed build answer: one typed cause with `message`,",
        "`evidence` and `fix`, recorded where the failure happens.",
        "",
        "| code | meaning |",
        "|---|---|",
    ]
    lines += [f"| `{code.value}` | {CAUSES[code]} |" for code in CauseCode]
    return "\n".join(lines) + "\n"


def _rest_application() -> FastAPI:
    """The application with nothing behind it: only its routes are looked at."""

    class Nothing:
        def __getattr__(self, name: str) -> Any:
            return Nothing()

    return create_app(Nothing(), lambda everything: None)  # type: ignore[arg-type]


def rest_page() -> str:
    """Every route."""
    document = _rest_application().openapi()
    public = ", ".join(f"`{path}`" for path in sorted(PUBLIC))
    lines = [
        "# REST",
        "",
        "The OpenAPI document of a running server is at `/api/v1/openapi.json`. Every route",
        f"needs `Authorization: Bearer <token>` except {public}. A POST or PATCH with an",
        "`Idempotency-Key` may be sent again: the same key and body give the same answer. Lists",
        "are paged: give `next` of an answer as `page`. Logs are streams of one JSON object a",
        "line, resumed with `after=<sequence of the last line>`.",
        "",
    ]
    for path, methods in document["paths"].items():
        for method, route in methods.items():
            lines += [f"## {method.upper()} {path}", "", route.get("description", ""), ""]
            parameters = [p for p in route.get("parameters", []) if p["in"] == "query"]
            if parameters:
                lines += ["Query: " + ", ".join(f"`{p['name']}`" for p in parameters) + ".", ""]
            lines += _bodies(route)
    return "\n".join(lines).rstrip() + "\n"


def _bodies(route: dict[str, Any]) -> list[str]:
    lines = []
    content = route.get("requestBody", {}).get("content", {})
    if "application/json" in content:
        lines += [f"Body: {_name(content['application/json']['schema'])}.", ""]
    for status, answer in route["responses"].items():
        if not status.startswith("2"):
            continue
        schema = answer.get("content", {}).get("application/json", {}).get("schema", {})
        lines += [f"Answer: {status}{f', {_name(schema)}' if schema else ''}.", ""]
    return lines


def _name(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return f"`{schema['$ref'].rsplit('/', 1)[1]}`"
    if "anyOf" in schema:
        return " or ".join(_name(option) for option in schema["anyOf"])
    return f"`{schema.get('type', 'any')}`"


PAGES: dict[str, Callable[[], str]] = {
    "settings.md": settings_page,
    "errors.md": errors_page,
    "causes.md": causes_page,
    "rest.md": rest_page,
}
"""Every generated page and what writes it."""


def main() -> None:
    """Write every page."""
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(page())
        sys.stdout.write(f"wrote {name}\n")


if __name__ == "__main__":
    main()
