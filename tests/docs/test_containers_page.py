"""What the guide on containers shows runs, and ends where it says."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.containers.podman import Podman
from tests.docs.pages import BLOCK, COMMAND, ROOT, commands, run, train, write_files

from modelyard.domain.cause import CauseCode

GUIDE = ROOT / "docs" / "guides" / "run-in-containers.md"


@pytest.fixture
def variables(podman: Podman) -> Iterator[dict[str, str]]:
    with tempfile.TemporaryDirectory(prefix="my-", ignore_cleanup_errors=True) as home:
        variables = {
            **os.environ,
            "HOME": home,
            "MODELYARD_HOME": f"{home}/home",
            "MODELYARD_SERVER_PORT": "0",
            "MODELYARD_GATEWAY_PORT": "0",
            "MODELYARD_WHEELS": str(ROOT / ".wheelhouse"),
            "MODELYARD_ENGINE": f"unix://{podman.socket}",
        }
        yield variables
        subprocess.run(
            [*COMMAND, "server", "stop", "--all"], env=variables, check=True, capture_output=True
        )


def test_guide(tmp_path: Path, variables: dict[str, str], podman: Podman) -> None:
    train(tmp_path)
    write_files(GUIDE, tmp_path)
    text = GUIDE.read_text()
    [service] = [block for language, block in BLOCK.findall(text) if language == "yaml"]
    (tmp_path / "service.yaml").write_text(service)
    deploy, *others = commands(GUIDE)
    assert run(deploy, tmp_path, variables).startswith("curl ")
    [name] = podman.run("ps", "--format", "{{.Names}}").split()
    assert name.startswith("modelyard-")
    for words in others:
        run(words, tmp_path, variables)
    assert podman.run("ps", "--all", "--format", "{{.Names}}").split() == []


def test_every_cause_it_names_exists() -> None:
    table = GUIDE.read_text().partition("names the cause:")[2]
    named = {
        code
        for row in table.splitlines()
        if row.startswith("| `")
        for code in re.findall(r"`(\w+)`", row.split("|")[1])
    }
    assert len(named) >= 8
    assert named <= {code.value for code in CauseCode}
