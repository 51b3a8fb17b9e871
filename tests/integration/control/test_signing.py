"""How a workspace gets its key, and what the first one does with images that are there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.factories import WORKSPACE, add_image

from modelyard.control.signing import workspace_key
from modelyard.domain.image import Image
from modelyard.domain.values import Reference
from modelyard.images.signing import SigningKey, TrustedKeys
from modelyard.store import Database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(f"sqlite:///{tmp_path / 'modelyard.db'}")
    opened.migrate()
    with opened.write() as tx:
        add_image(tx)
    yield opened
    opened.close()


def start(database: Database, home: Path) -> SigningKey:
    """What a start of the server does."""
    path = home / "signing" / "default.pem"
    return workspace_key(database, WORKSPACE, path, TrustedKeys(home / "trusted"))


def image(database: Database) -> Image:
    with database.read() as tx:
        return tx.images.get(WORKSPACE, Reference("digits", 1))


def is_trusted(database: Database, home: Path) -> bool:
    found = image(database)
    assert found.digest is not None
    return TrustedKeys(home / "trusted").why_refused(found.digest, found.signature) is None


def test_the_first_start_signs_what_was_built_before(database: Database, tmp_path: Path) -> None:
    assert not is_trusted(database, tmp_path)
    start(database, tmp_path)
    assert is_trusted(database, tmp_path)


def test_later_starts_sign_nothing(database: Database, tmp_path: Path) -> None:
    key = start(database, tmp_path)
    with database.write() as tx:
        tx.images.sign_all(WORKSPACE, SigningKey.generate().sign)
    assert start(database, tmp_path).public == key.public
    assert not is_trusted(database, tmp_path)


def test_a_start_that_was_interrupted_is_made_up_for(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(key: SigningKey, path: Path) -> None:
        raise OSError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(SigningKey, "save", crash)
        with pytest.raises(OSError, match="power cut"):
            start(database, tmp_path)
    start(database, tmp_path)
    assert is_trusted(database, tmp_path)


def test_a_key_that_is_moved_away_is_replaced_and_signs_everything_again(
    database: Database, tmp_path: Path
) -> None:
    before = start(database, tmp_path)
    (tmp_path / "signing" / "default.pem").unlink()
    after = start(database, tmp_path)
    assert after.public != before.public
    signature = image(database).signature
    assert signature is not None
    assert signature.key == after.public.id
