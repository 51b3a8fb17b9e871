"""What a worker serves, without lanes, processes and sockets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from modelyard_runtime.config import Config
from modelyard_runtime.entry import Entry
from modelyard_runtime.http.server import Response
from modelyard_runtime.protocols.base import Surface
from modelyard_runtime.routes import Routes
from modelyard_runtime.scoring import Call, Scorer


class Inline:
    """A lane that scores at once."""

    def submit(self, call: Call) -> Response:
        return call.execute()


def routes_of(
    entry: Entry, config: Config, surfaces: Sequence[Surface], unready: Callable[[], str]
) -> Routes:
    lane: Any = Inline()
    return Routes(lane, Scorer(entry, lambda cause: None), surfaces, config, unready)
