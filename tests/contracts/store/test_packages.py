"""Which images carry a package, and which services use them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import text
from tests.factories import (
    KEY,
    WORKSPACE,
    add_image,
    add_running_image,
    add_service,
    make_manifest,
)

from modelyard.domain.cause import Cause, CauseCode
from modelyard.domain.image import Image, Package
from modelyard.domain.packages import PackageUse
from modelyard.domain.service import ServiceSettings
from modelyard.domain.values import Reference
from modelyard.errors import InvalidRequest
from modelyard.store import Database, Transaction

OLD_IMAGE = """
INSERT INTO image (id, workspace, name, version, state, inputs, request, packages, description,
    words, operation, created_at, created_by)
VALUES ('1123456789abcdef0123456789abcdef', 'default', 'old', 1, 'Succeeded', 'inputs',
    '{"name": "old", "models": []}', '[{"name": "My_Pkg", "version": "1.0"}]', '', 'old',
    '0123456789abcdef0123456789abcdef', '2026-03-01', 'owner')
"""
OLD_OPERATION = """
INSERT INTO operation
    (id, workspace, kind, state, resource, log_lines, created_at, updated_at, created_by)
VALUES ('0123456789abcdef0123456789abcdef', 'default', 'image.build', 'Succeeded', 'image old:1',
    0, '2026-03-01', '2026-03-01', 'owner')
"""


def add_with(tx: Transaction, name: str, *pins: str, **fields: str) -> Image:
    """A built image with these packages."""
    running = add_running_image(tx, name, **fields)
    manifest = make_manifest(layer=running.reference)
    packages = [
        Package(name=name, version=version) for name, version in (pin.split("==") for pin in pins)
    ]
    return tx.images.succeed(running.id, manifest, KEY.sign(manifest.digest), packages, None)


def found(
    tx: Transaction, name: str, matches: Callable[[str], bool] = lambda version: True
) -> list[str]:
    return [use.image for use in tx.packages.find(WORKSPACE, name, matches, 50).items]


class TestFind:
    def test_newest_first_with_the_versions_that_match(self, tx: Transaction) -> None:
        add_with(tx, "one", "jinja2==3.1.3", "numpy==2.0")
        add_with(tx, "two", "jinja2==3.1.4")
        add_with(tx, "two", "Jinja2==3.1.2")
        assert found(tx, "jinja2") == ["two:2", "two:1", "one:1"]
        assert found(tx, "jinja2", lambda version: version < "3.1.4") == ["two:2", "one:1"]
        assert found(tx, "jinja") == []

    def test_says_what_was_found(self, tx: Transaction) -> None:
        add_with(tx, "one", "My_Pkg==1.0")
        (use,) = tx.packages.find(WORKSPACE, "my-pkg", lambda version: True, 50).items
        assert use == PackageUse(package="my-pkg", version="1.0", image="one:1", services=())

    def test_of_the_workspace_alone(self, tx: Transaction, elsewhere: str) -> None:
        add_with(tx, "one", "numpy==2.0", workspace=elsewhere)
        assert found(tx, "numpy") == []

    def test_not_of_what_failed_or_is_gone(self, tx: Transaction) -> None:
        failed = add_running_image(tx, "failed")
        tx.images.fail(failed.id, Cause(code=CauseCode.INTERNAL, message="no"))
        add_with(tx, "gone", "numpy==2.0")
        tx.images.delete(WORKSPACE, Reference("gone", 1))
        assert found(tx, "numpy") == []

    def test_page_by_page(self, tx: Transaction) -> None:
        for _ in range(5):
            add_with(tx, "one", "numpy==2.0")
        pages, cursor = [], None
        while True:
            page = tx.packages.find(WORKSPACE, "numpy", lambda version: True, 2, cursor)
            pages.append([use.image for use in page.items])
            cursor = page.next
            if cursor is None:
                break
        assert pages == [["one:5", "one:4"], ["one:3", "one:2"], ["one:1"]]

    def test_a_page_of_something_else_is_refused(self, tx: Transaction) -> None:
        with pytest.raises(InvalidRequest):
            tx.packages.find(WORKSPACE, "numpy", lambda version: True, 2, "nonsense")

    def test_names_the_services_that_want_it_or_still_run_it(self, tx: Transaction) -> None:
        old, new = add_image(tx), add_image(tx)
        add_service(tx, "alpha", old)
        add_service(tx, "beta", old)
        tx.services.update(WORKSPACE, "beta", new, ServiceSettings())
        uses = tx.packages.find(WORKSPACE, "numpy", lambda version: True, 50).items
        assert {use.image: use.services for use in uses} == {
            "digits:1": ("alpha", "beta"),
            "digits:2": ("beta",),
        }

    def test_by_an_index(self, tx: Transaction) -> None:
        """Ten thousand images have a million packages: none of them may be walked through."""
        plans = []
        connection = tx._session.connection()
        execute = connection.exec_driver_sql
        for condition in ("name = 'numpy'", "name = 'numpy' AND version IN ('1', '2')"):
            query = (
                f"SELECT image, version FROM image_package WHERE workspace = 'a' AND {condition}"
            )
            rows = execute(f"EXPLAIN QUERY PLAN {query} ORDER BY image DESC LIMIT 3").all()
            plans.append(" ".join(str(row[-1]) for row in rows))
        for plan in plans:
            assert "ix_image_package_workspace_name_image_version (workspace=? AND name=?)" in plan
            assert "TEMP B-TREE" not in plan


class TestMigration:
    def test_finds_what_older_images_say_of_themselves(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        database = Database(f"sqlite:///{tmp_path / 'old.db'}")
        upgrade = command.upgrade
        with monkeypatch.context() as patch:
            patch.setattr(command, "upgrade", lambda config, _: upgrade(config, "0004"))
            database.migrate()
        with database.write() as tx:
            tx._session.execute(text(OLD_OPERATION))
            tx._session.execute(text(OLD_IMAGE.replace(":", "\\:")))
        database.migrate()
        with database.read() as tx:
            assert found(tx, "my-pkg") == ["old:1"]
        database.close()
