"""A host for every test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.agent.host import Host, a_host


@pytest.fixture
def host(home: Path) -> Iterator[Host]:
    with a_host(home / "home") as host:
        yield host
