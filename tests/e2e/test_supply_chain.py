"""What is built is signed, and what was changed since is not started."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

import modelyard
from modelyard.domain.cause import CauseCode
from modelyard.domain.image import LayerKind

HOME = "MODELYARD_HOME"


def change_manifest(reference: str, **changes: object) -> None:
    """What somebody does who can write into the database and has not the key."""
    name, _, version = reference.partition(":")
    path = Path(os.environ[HOME]) / "modelyard.db"
    with closing(sqlite3.connect(path)) as database, database:
        where = "WHERE name = ? AND version = ?"
        (text,) = database.execute(
            f"SELECT manifest FROM image {where}", (name, version)
        ).fetchone()
        manifest = json.dumps({**json.loads(text), **changes})
        database.execute(f"UPDATE image SET manifest = ? {where}", (manifest, name, version))


def test_an_image_whose_manifest_was_changed_is_not_started(
    yard: modelyard.Client, breakable: str
) -> None:
    image = yard.images.get(breakable)
    assert image.signature is not None
    assert image.signature.key == yard.images.key().id
    assert image.manifest is not None
    change_manifest(breakable, script="evil.py")
    try:
        with pytest.raises(modelyard.DeployFailed) as failed:
            yard.services.deploy("tampered", breakable)
        assert failed.value.details["cause"]["code"] == CauseCode.SIGNATURE_INVALID
        cause = yard.services.why("tampered")
        assert cause is not None
        assert cause.code is CauseCode.SIGNATURE_INVALID
        yard.services.delete("tampered")
    finally:
        change_manifest(breakable, script=image.manifest.script)
    yard.services.deploy("tampered", breakable)
    yard.services.delete("tampered")


def test_the_key_stays_in_its_file(yard: modelyard.Client, breakable: str) -> None:
    home = Path(os.environ[HOME])
    path = home / "signing" / "default.pem"
    assert path.stat().st_mode & 0o777 == 0o600
    secret = path.read_bytes().splitlines()[1]
    files = [*home.glob("*.db*"), *home.glob("*.log"), *home.glob("agent/*.log")]
    assert files
    assert not [file for file in files if secret in file.read_bytes()]


def test_the_sbom_is_the_one_that_was_signed(yard: modelyard.Client, breakable: str) -> None:
    content = yard.images.sbom(breakable)
    image = yard.images.get(breakable)
    assert image.signature is not None
    assert f"sha256:{hashlib.sha256(content).hexdigest()}" == image.signature.sbom
    packages = {part["name"]: part for part in json.loads(content)["components"]}
    assert {"orjson", "uvloop", "breakable", "modelyard-runtime"} <= packages.keys()
    assert packages["orjson"]["hashes"]


def test_verify_finds_the_layer_that_was_changed(yard: modelyard.Client, breakable: str) -> None:
    assert yard.images.verify(breakable).intact
    manifest = yard.images.get(breakable).manifest
    assert manifest is not None
    name = manifest.layer(LayerKind.CODE).digest[-40:]
    (path,) = (p for p in (Path(os.environ[HOME]) / "blobs").rglob(f"*{name}*") if p.is_file())
    content = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(content[:-1] + b"x")
    try:
        found = yard.images.verify(breakable)
        assert not found.intact
        assert [part.part for part in found.parts if part.problem] == ["layer code"]
    finally:
        path.write_bytes(content)
    assert yard.images.verify(breakable).intact


def test_packages_are_found_with_the_services_that_use_them(
    yard: modelyard.Client, breakable: str
) -> None:
    yard.services.deploy("uses-it", breakable)
    try:
        found = {use.image: use for use in yard.images.find_package("orjson>=3")}
        assert "uses-it" in found[breakable].services
        assert not list(yard.images.find_package("orjson<3"))
        with pytest.raises(modelyard.InvalidRequest):
            list(yard.images.find_package("orjson <"))
    finally:
        yard.services.delete("uses-it")
