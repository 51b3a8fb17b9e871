"""Writes `docs/reference/sdk.md` from the signatures and docstrings of the SDK.

`python scripts/sdk_reference.py` writes it; a test fails when it is not what this would write.
"""

from __future__ import annotations

import inspect
import re
import sys
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from modelyard.client import Action, Client, Deployed, Step, connect
from modelyard.client.alerts import Alerts
from modelyard.client.captures import Captures
from modelyard.client.collection import Collection, Filters
from modelyard.client.frames import Frame
from modelyard.client.images import Images
from modelyard.client.models import Models
from modelyard.client.operations import Operations
from modelyard.client.replays import Replays
from modelyard.client.service_settings import Settings
from modelyard.client.services import Services

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "sdk.md"
INTRODUCTION = """\
# Python

```python
import modelyard

with modelyard.connect() as yard:  # the local server, started when there is none
    model = yard.models.register("digits", "model.pkl", sample_input=[[0, 0, 5, 13]])
    image = yard.images.build(
        "digits", models=[model], script="score.py", requirements="requirements.txt"
    )
    service = yard.services.deploy("digits", image, replicas=2)
    print(yard.services.score("digits", [[0, 0, 5, 13]]))
```

- What comes back (`Model`, `Image`, `Service`, `Operation`, …) is an immutable value: what was true
  when it was asked for. `get` asks again.
- Every failure is a `modelyard.ModelyardError`, the same class from a local server and one
  elsewhere: see [errors](errors.md). `error.hint` says what to do, `error.details` has facts.
- A request is sent again after a broken connection only when that does no harm. What creates
  something carries a key that makes it take effect once.
- A client is safe to share between threads. Times without a zone are local time.
"""
# Parts of `Client.deploy`, which reaches them from its own module.
INTERNAL = {
    *("register_files", "start_build", "start_deploy", "start_update", "wait", "code_digests"),
    *("start", "prove"),
}
COLLECTIONS = {"models": Models, "images": Images, "services": Services}
SHARED = """\
## Models, images and services

`yard.models`, `yard.images` and `yard.services` have these in common. A reference is `name:version`
or `name` for the latest version; for services it is their name.
"""
_TITLES = {"Args:": "Arguments", "Returns:": "Returns", "Raises:": "Raises"}


def page() -> str:
    """The whole page."""
    parts = [INTRODUCTION, *_function("modelyard.connect", connect), "## Client\n"]
    for name in ("deploy", "deploy_file", "info", "stop_server", "close"):
        parts += _function(f"yard.{name}", getattr(Client, name))
    parts.append(SHARED)
    for name in _public(Collection):
        parts += _function(f"yard.….{name}", getattr(Collection, name))
    others = {
        "alerts": Alerts,
        "captures": Captures,
        "replays": Replays,
        "operations": Operations,
    }
    for noun, collection in {**COLLECTIONS, **others}.items():
        parts.append(f"## yard.{noun}\n")
        for name in _public(collection):
            parts += _function(f"yard.{noun}.{name}", getattr(collection, name))
    parts.append("## Frames\n")
    for name in _public(Frame):
        parts += _function(f"frame.{name}", getattr(Frame, name))
    parts += ["## Filters\n", *_fields(Filters), "## Settings of a service\n", *_fields(Settings)]
    parts += ["## What a deploy did\n"]
    for value in (Deployed, Step, Action):
        parts += _value(value)
    return "\n".join(parts)


def _public(cls: type) -> list[str]:
    """Its own methods, in the order in which they are written; shared ones are told apart."""
    own = cls.__mro__[: cls.__mro__.index(Collection)] if issubclass(cls, Collection) else (cls,)
    return [
        name
        for part in own or (cls,)
        for name, value in vars(part).items()
        if inspect.isfunction(value) and not name.startswith("_") and name not in INTERNAL
    ]


def _function(name: str, function: Callable[..., Any]) -> Iterator[str]:
    yield f"### {name}\n"
    yield f"```python\n{name.rsplit('.', 1)[1]}{_signature(function)}\n```\n"
    yield "\n".join(_text(inspect.getdoc(function) or "")) + "\n"


def _signature(function: Callable[..., Any]) -> str:
    signature = inspect.signature(function)
    parameters = [p for name, p in signature.parameters.items() if name != "self"]
    lines = [f"    {text}," for text in _parameters(parameters)]
    inside = "".join(f"\n{line}" for line in lines) + "\n" if lines else ""
    return f"({inside}) -> {signature.return_annotation}"


def _parameters(parameters: list[inspect.Parameter]) -> Iterator[str]:
    starred = False
    for parameter in parameters:
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and not starred:
            starred = True
            yield "*"
        yield _parameter(parameter)


def _parameter(parameter: inspect.Parameter) -> str:
    stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    text = f"{stars.get(parameter.kind, '')}{parameter.name}: {parameter.annotation}"
    has_default = parameter.default is not inspect.Parameter.empty
    return f"{text} = {parameter.default!r}" if has_default else text


def _text(docstring: str) -> Iterator[str]:
    """Docstring sections as lists; everything else as it stands."""
    title = None
    for line in docstring.splitlines():
        if line in _TITLES:
            title = _TITLES[line]
            yield f"**{title}**\n"
        elif title == "Returns" or title is None:
            yield line.strip()
        elif line.startswith("        "):
            yield f"  {line.strip()}"
        elif line:
            name, _, rest = line.strip().partition(": ")
            yield f"- `{name.lstrip('*')}`: {rest}"
        else:
            yield ""


def _fields(typed: type) -> Iterator[str]:
    """The fields of a typed dictionary, with what is written under each."""
    source = inspect.getsource(typed)
    notes = dict(
        re.findall(r'^    (\w+): [^\n]+\n    """(.+?)"""', source, re.MULTILINE | re.DOTALL)
    )
    rows = [f"| `{name}` | {notes.get(name, '')} |" for name in typing.get_type_hints(typed)]
    yield "\n".join(["| name | meaning |", "|---|---|", *rows]) + "\n"


def _value(value: type) -> Iterator[str]:
    yield f"### modelyard.{value.__name__}\n"
    yield f"{inspect.getdoc(value)}\n"
    if issubclass(value, Action):
        yield ", ".join(f"`{action}`" for action in Action) + "\n"
        return
    rows = [
        f"| `{name}` | {' '.join((field.description or '').split())} |"
        for name, field in value.model_fields.items()  # type: ignore[attr-defined]
    ]
    yield "\n".join(["| field | meaning |", "|---|---|", *rows]) + "\n"


def main() -> None:
    """Write the page."""
    PAGE.write_text(page())
    sys.stdout.write(f"wrote {PAGE.name}\n")


if __name__ == "__main__":
    main()
