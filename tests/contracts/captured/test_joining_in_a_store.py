"""Small files in an object store become larger ones there, too: by a real S3 server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import obstore
import pytest
from tests.captured import FILES, LATER, answers
from tests.contracts.captured.copies import forget_copies
from tests.factories import WORKSPACE

from modelyard.capture.remote import RemoteFiles
from modelyard.control.captures import Captures
from modelyard.control.rewriting import Rewriting
from modelyard.domain.captured import JOINED
from modelyard.domain.principal import Principal
from modelyard.schemas import ForgetCaptured
from modelyard.store import Database
from modelyard.store.captured import Captured


@pytest.fixture
def captures(database: Database, remote: RemoteFiles, tmp_path: Path) -> Captures:
    return Captures(database, remote, tmp_path / "answers")


@pytest.fixture
def rewriting(database: Database, remote: RemoteFiles, tmp_path: Path) -> Rewriting:
    return Rewriting(database, remote, tmp_path / "answers", b"key")


def names(remote: RemoteFiles) -> list[str]:
    paths = [meta["path"] for page in obstore.list(remote._store) for meta in page]
    return sorted(Path(path).name.partition(".")[0] for path in paths)


@pytest.mark.usefixtures("sealed")
def test_small_files_become_one_that_any_host_reads(
    captures: Captures, rewriting: Rewriting, agent: Principal, remote: RemoteFiles, tmp_path: Path
) -> None:
    before = answers(captures, agent)
    forget_copies(remote, tmp_path)
    assert rewriting.join(WORKSPACE, LATER) == FILES + 1
    joined, alone = captures.segments(agent)
    assert len(names(remote)) == FILES + 3  # the old ones stay for those who read them
    forget_copies(remote, tmp_path)
    assert answers(captures, agent) == before
    rewriting.expire(WORKSPACE, datetime.now(UTC) + timedelta(hours=2), days=0, most=0)
    assert names(remote) == sorted([joined.name, alone.name])
    forget_copies(remote, tmp_path)
    assert answers(captures, agent) == before

    gone = rewriting.forget(agent, "digits", ForgetCaptured(field="id", value="x"))
    assert (gone.requests, gone.segments) == (6, 1)
    assert names(remote) == sorted([joined.name, alone.name])
    forget_copies(remote, tmp_path)
    after = answers(captures, agent)
    assert 0 < len(after) < len(before)
    assert not [row for row in after if row[2] == "x"]


@pytest.mark.usefixtures("sealed")
def test_killed_before_the_manifest_says_so_nothing_is_doubled(
    captures: Captures,
    rewriting: Rewriting,
    agent: Principal,
    remote: RemoteFiles,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before, there = answers(captures, agent), names(remote)

    def killed(*told: Any) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Captured, "join", killed)
        with pytest.raises(KeyboardInterrupt):
            rewriting.join(WORKSPACE, LATER)
    assert any(name.startswith(JOINED) for name in names(remote))
    rewriting.recover(WORKSPACE)
    assert names(remote) == there
    forget_copies(remote, tmp_path)
    assert answers(captures, agent) == before
    assert rewriting.join(WORKSPACE, LATER) == FILES + 1
    forget_copies(remote, tmp_path)
    assert answers(captures, agent) == before
