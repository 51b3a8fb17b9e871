"""Models saved to a folder, loaded as a replica does, and asked without sockets."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from modelyard_runtime import frameworks
from modelyard_runtime.causes import Scene
from modelyard_runtime.config import Model
from modelyard_runtime.entry import Entry
from modelyard_runtime.http.server import HttpError, Request
from modelyard_runtime.signature import Table
from modelyard_runtime.tensors import Tensor


class Asked:
    """A loaded model."""

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.signature = entry.signature

    def score(self, body: Any, query: str = "") -> Any:
        """The parsed answer to a request."""
        return json.loads(self.scored(body, query))

    def scored(self, body: Any, query: str = "") -> bytes:
        """The answer to a request, byte by byte."""
        request = Request("POST", "/score", query, [], json.dumps(body).encode())
        return self.signature.to_json(self.entry.run(**self.signature.from_request(request)))

    def refusal(self, body: Any, query: str = "") -> str:
        """Status and message of the refusal of a request."""
        return refusal(lambda: self.score(body, query))

    def infer(self, *tensors: Tensor, **parameters: Any) -> list[Tensor]:
        """The tensors that come of some."""
        return self.signature.to_tensors(
            self.entry.run(**self.signature.from_tensors(tensors, parameters))
        )

    def invoke(self, table: Table, **parameters: Any) -> Any:
        """The parsed answer to a table."""
        arguments = self.signature.from_table(table, parameters)
        return json.loads(self.signature.to_json(self.entry.run(**arguments)))

    def together(self, bodies: Sequence[Any], query: str = "") -> list[Any]:
        """The parsed answers to several requests that are scored in one call."""
        requests = [Request("POST", "/score", query, [], json.dumps(b).encode()) for b in bodies]
        calls = [self.signature.from_request(request) for request in requests]
        batching = self.entry.batching
        assert batching is not None
        assert len({batching.key(call) for call in calls}) == 1
        rows = [batching.rows(call) for call in calls]
        parts = batching.split(self.entry.run(**batching.join(calls)), rows)
        return [json.loads(self.signature.to_json(part)) for part in parts]


def refusal(ask: Callable[[], Any]) -> str:
    try:
        answer = ask()
    except HttpError as error:
        return f"{error.status} {error.message}"
    raise AssertionError(f"it was answered with {answer}")


def loaded(folder: Path, format: str, framework: str | None = None) -> Asked:
    """The model whose files are in `flowers/3` below the folder."""
    model = Model("flowers", "3", "flowers/3", format, framework)
    scene = Scene(str(folder / "code"), "", str(folder))
    return Asked(frameworks.load([model], scene))


def place(folder: Path, name: str = "") -> Path:
    """Where a file of the model is to be."""
    where = folder / "flowers" / "3"
    where.mkdir(parents=True, exist_ok=True)
    return where / name


def pickled(folder: Path, model: object) -> Asked:
    """A model that went through pickle."""
    place(folder, "model.pkl").write_bytes(pickle.dumps(model))
    return loaded(folder, "pickle", "scikit-learn")
