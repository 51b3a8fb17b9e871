"""How busy the services are that are scaled by it: told by the gateway, read by the agent."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path

from modelyard.files import replace_file

FRESH = 1.0
"""Seconds for which a gateway's word counts; it is renewed twenty times as often."""

_log = logging.getLogger("modelyard.gateway")


class LoadFile:
    """Requests at a replica or waiting for one, by service; written anew at every call."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._failed = False

    def publish(self, loads: Mapping[str, int]) -> None:
        """Write the loads of this moment. A full disk is logged once and tried again."""
        try:
            document = {"at": time.monotonic(), "loads": loads}
            replace_file(self._path, json.dumps(document), durable=False)
            self._failed = False
        except OSError as error:
            if not self._failed:
                _log.error("the load cannot be told, so nothing is scaled: %s", error)
            self._failed = True


def read_loads(path: Path) -> dict[str, int]:
    """The loads that a gateway of this host told within the last second; none if it did not."""
    try:
        document = json.loads(path.read_bytes())
        is_fresh = 0 <= time.monotonic() - document["at"] <= FRESH
        return dict(document["loads"]) if is_fresh else {}
    except (OSError, ValueError, LookupError, TypeError):
        return {}
