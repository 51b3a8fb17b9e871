"""The last good desired state, kept on disk: an agent starts and heals with its server gone."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path

from pydantic import ValidationError

from modelyard.domain.desired import DesiredState
from modelyard.files import replace_file

log = logging.getLogger(__name__)


class DesiredStore:
    """Keeps the newest desired state; what is stale is not let in."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.current = self._load()
        """The newest state, or None before the first."""

    def accept(self, state: DesiredState) -> bool:
        """Keep a state that came from a server, durably; false when it is not newer.

        A lower fence means a server that was taken over, a lower generation an older answer.

        Raises:
            OSError: It could not be written; the former stays.
        """
        if self.current is not None and _order(state) <= _order(self.current):
            return False
        document = state.model_dump_json()
        replace_file(self._path, json.dumps({"sha256": _hash(document), "document": document}))
        self.current = state
        return True

    def _load(self) -> DesiredState | None:
        try:
            kept = json.loads(self._path.read_bytes())
            if kept["sha256"] != _hash(str(kept["document"])):
                raise ValueError("the checksum differs")
            return DesiredState.model_validate_json(kept["document"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, LookupError, TypeError, ValidationError) as error:
            log.error("cannot use %s, waiting for the server: %s", self._path, error)
            return None


def _order(state: DesiredState) -> tuple[int, int]:
    return state.fence, state.generation


def _hash(document: str) -> str:
    return hashlib.sha256(document.encode()).hexdigest()
