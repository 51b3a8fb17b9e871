from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from modelyard.agent.gateway.config import (
    GatewayConfig,
    Key,
    ServiceRoute,
    Upstream,
    read_config,
    write_config,
)
from modelyard.errors import IntegrityError, InvalidRequest, Unavailable

ROUTE = ServiceRoute(
    name="digits",
    auth="key",
    keys=(Key("0123456789abcdef", "primary", "ab" * 32),),
    scoring_timeout=60.0,
    max_concurrent_requests=16,
    max_queue_wait=10.0,
    upstreams=(Upstream("/run/a.sock", "d1", 100, "r1"), Upstream("/run/b.sock", "d1", 100, "r2")),
    unavailable="",
)
CONFIG = GatewayConfig(7, (ROUTE, replace(ROUTE, name="iris", upstreams=(), unavailable="é")))


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    write_config(path, CONFIG)
    assert read_config(path) == CONFIG


def test_writing_replaces_and_leaves_no_temporary_file(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    write_config(path, CONFIG)
    write_config(path, GatewayConfig(8))
    assert read_config(path) == GatewayConfig(8)
    assert [file.name for file in tmp_path.iterdir()] == ["config.json"]


def test_only_the_owner_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    write_config(path, CONFIG)
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda text: text.replace('"auth": "key"', '"auth": "none"', 1), id="edited"),
        pytest.param(lambda text: text[:-20], id="truncated"),
        pytest.param(lambda text: text.replace('"format": 1', '"format": 2'), id="newer format"),
        pytest.param(lambda text: "", id="empty"),
        pytest.param(lambda text: "[]", id="not an object"),
        pytest.param(lambda text: "\0" * len(text), id="zeroes"),
        pytest.param(lambda text: json.dumps({"format": 1, "checksum": ""}), id="no config"),
    ],
)
def test_a_damaged_document_is_refused(tmp_path: Path, damage) -> None:
    path = tmp_path / "config.json"
    write_config(path, CONFIG)
    path.write_text(damage(path.read_text()))
    with pytest.raises(IntegrityError, match=str(path)):
        read_config(path)


def test_a_missing_document_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError):
        read_config(tmp_path / "config.json")


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="could not be written"):
        write_config(tmp_path / "nowhere" / "config.json", CONFIG)


@pytest.mark.parametrize(
    "change",
    [{"max_concurrent_requests": 0}, {"scoring_timeout": 0.0}, {"max_queue_wait": -1.0}],
    ids=str,
)
def test_limits_that_would_stop_everything_are_refused(change) -> None:
    with pytest.raises(InvalidRequest):
        replace(ROUTE, **change)
