from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator

import pytest
from tests.docs.pages import COMMAND, ROOT


@pytest.fixture(scope="module")
def variables() -> Iterator[dict[str, str]]:
    """One home for all pages, because its environment of packages takes longest to make."""
    with tempfile.TemporaryDirectory(prefix="my-", ignore_cleanup_errors=True) as home:
        variables = {
            **os.environ,
            "HOME": home,
            "MODELYARD_HOME": f"{home}/home",
            "MODELYARD_SERVER_PORT": "0",
            "MODELYARD_GATEWAY_PORT": "0",
            "MODELYARD_WHEELS": str(ROOT / ".wheelhouse"),
        }
        yield variables
        subprocess.run(
            [*COMMAND, "server", "stop", "--all"], env=variables, check=True, capture_output=True
        )
