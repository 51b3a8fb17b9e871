"""The configuration file of a replica."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from modelyard_runtime.config import (
    GATEWAY_LIMITS,
    Batch,
    Config,
    InvalidConfig,
    Key,
    Model,
    Tls,
    read_config,
)
from modelyard_runtime.http.messages import Limits

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "scoring.md"

WHOLE: dict[str, Any] = {
    "fd": 3,
    "workers": 2,
    "code": "/code",
    "script": "score.py",
    "models_root": "/models",
    "models": [{"name": "iris", "version": 3, "path": "/models/iris/3"}],
    "status": "/status.json",
    "service": "flowers",
    "scoring_timeout": 60,
    "max_body": 1000,
    "drain_timeout": 5.5,
    "something": "newer",
}


def write(folder: Path, values: Any) -> str:
    path = folder / "replica.json"
    path.write_text(json.dumps(values))
    return str(path)


def read(folder: Path, **changes: Any) -> Config:
    return read_config(write(folder, {**WHOLE, **changes}))


def test_is_read(tmp_path: Path) -> None:
    config = read(tmp_path)
    assert (config.fd, config.workers, config.drain_timeout) == (3, 2, 5.5)
    assert config.models[0].version == "3"


@pytest.mark.parametrize(
    ("models", "expected"),
    [(["iris"], "/models/iris/1"), (["iris", "rose"], "/models"), ([], "/models")],
)
def test_model_dir(tmp_path: Path, models: list[str], expected: str) -> None:
    entries = [{"name": name, "version": "1", "path": ""} for name in models]
    assert read(tmp_path, models=entries).model_dir == expected


@pytest.mark.parametrize("key", [key for key in WHOLE if key not in ("status", "something")])
def test_names_a_key_that_is_missing(tmp_path: Path, key: str) -> None:
    path = write(tmp_path, {name: value for name, value in WHOLE.items() if name != key})
    with pytest.raises(InvalidConfig, match=key):
        read_config(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"workers": 0},
        {"workers": "two"},
        {"models": 1},
        {"models": ["iris"]},
        {"scoring_timeout": -1},
        {"fds": [-1]},
        {"keys": [{"id": "a"}]},
        {"tls": {"cert": "/c"}},
        {"limits": {"no_such_limit": 1}},
        {"limits": {"body_bytes": 1}},
        {"limits": {"connections": 1.5}},
        {"limits": {"idle_time": 0}},
        {"batch": {"max_rows": 0}},
        {"batch": {"max_wait": -1}},
        {"max_queue": 0},
        {"max_queue_wait": 0},
        {"listen": "*:80"},
        {"grpc_fd": 4, "grpc_listen": "*:80"},
    ],
)
def test_refuses_impossible_values(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidConfig):
        read(tmp_path, **changes)


def test_what_is_optional_has_defaults(tmp_path: Path) -> None:
    config = read(tmp_path)
    assert (config.keys, config.tls, config.fds, config.sample) == ((), None, (), None)
    assert (config.batch.max_rows, config.batch.max_wait) == (1024, 0.0)


def test_may_listen_for_itself(tmp_path: Path) -> None:
    values = {name: value for name, value in WHOLE.items() if name not in ("fd", "status")}
    config = read_config(write(tmp_path, {**values, "listen": ["unix:/run/s"]}))
    assert (config.fd, config.listen, config.status) == (None, ("unix:/run/s",), None)
    assert config.inherited == ()


def test_what_is_optional_is_read(tmp_path: Path) -> None:
    config = read(
        tmp_path,
        script=None,
        models=[{"name": "m", "version": "1", "path": "/m", "format": "onnx"}],
        keys=[{"id": "a", "hash": "b"}],
        tls={"cert": "/c", "key": "/k", "client_ca": "/ca", "crl": "/crl"},
        batch={"max_wait": 0.01},
        fds=[4, 5],
    )
    assert config.script is None
    assert (config.models[0].format, config.models[0].framework) == ("onnx", None)
    assert config.keys[0].id == "a"
    assert config.tls is not None
    assert config.tls.client_ca == "/ca"
    assert config.batch.max_wait == 0.01
    assert config.fds == (4, 5)


def test_a_gateway_is_trusted_more_than_strangers(tmp_path: Path) -> None:
    config = read(tmp_path, limits={"header_time": 7, "connections": 9.0})
    gateway, stranger = (config.http_limits(strangers=strangers) for strangers in (False, True))
    assert gateway.header_time == stranger.header_time == 7
    assert repr(gateway.connections) == repr(stranger.connections) == "9"
    assert gateway.idle_time > stranger.idle_time
    assert gateway.body_bytes == stranger.body_bytes == 1000


def test_refuses_what_is_no_object(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig):
        read_config(write(tmp_path, []))


def test_refuses_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="No such file"):
        read_config(str(tmp_path / "none.json"))


def test_the_reference_page_lists_every_key() -> None:
    section = PAGE.read_text().partition("## For whoever starts replicas")[2]
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", section, re.M))
    assert {field.name for field in fields(Config)} <= set(rows)
    for name, kind in (("keys", Key), ("models", Model), ("tls", Tls), ("batch", Batch)):
        assert all(f"`{field.name}`" in rows[name] for field in fields(kind))


def test_the_reference_page_lists_every_limit() -> None:
    page = PAGE.read_text()
    for limit in fields(Limits):
        if limit.name == "body_bytes":
            continue
        defaults = [limit.default, GATEWAY_LIMITS.get(limit.name)]
        written = re.search(rf"`{limit.name}`[^(]*\(([^)]*)\)", page)
        assert written, limit.name
        assert [float(number) for number in re.findall(r"\d+", written[1])] == [
            number for number in defaults if number is not None
        ]
