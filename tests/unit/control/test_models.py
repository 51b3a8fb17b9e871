"""What callers may do with models."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
import sklearn
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from tests.factories import add_image

from modelyard.blobs import LocalBlobs
from modelyard.control.models import Models, refuse_collisions
from modelyard.domain.model import Imports, ModelFormat
from modelyard.domain.principal import Principal, Role
from modelyard.domain.search import Search
from modelyard.domain.values import Reference
from modelyard.errors import Conflict, InUse, InvalidRequest, NotFound
from modelyard.schemas import ChangeLabels, FileReference, RegisterModel
from modelyard.store import Database

LATEST = Reference("iris", None)
PRINCIPAL = Principal(id=uuid4(), workspace="default", name="ada", role=Role.OWNER)
OTHER = PRINCIPAL.model_copy(update={"name": "bob"})


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(f"sqlite:///{tmp_path / 'modelyard.db'}")
    opened.migrate()
    yield opened
    opened.close()


@pytest.fixture
def blobs(tmp_path: Path) -> LocalBlobs:
    return LocalBlobs(tmp_path / "blobs")


@pytest.fixture
def models(database: Database, blobs: LocalBlobs) -> Models:
    return Models(database, blobs)


def upload(database: Database, blobs: LocalBlobs, data: bytes) -> str:
    with blobs.writer() as writer:
        writer.write(data)
        stored = writer.commit()
    with database.write() as tx:
        tx.blobs.record(stored.digest, stored.size, datetime.now(UTC) + timedelta(hours=1))
    return stored.digest


@pytest.fixture
def request_(database: Database, blobs: LocalBlobs) -> RegisterModel:
    digest = upload(database, blobs, pickle.dumps({"a": 1}))
    return RegisterModel(name="iris", files=(FileReference(path="model.pkl", digest=digest),))


class TestRegister:
    def test_fills_in_what_it_sees(self, models: Models, request_: RegisterModel) -> None:
        model = models.register(PRINCIPAL, request_)
        assert model.reference == "iris:1"
        assert (model.format, model.framework) == (ModelFormat.PICKLE, None)
        assert model.files[0].size == len(pickle.dumps({"a": 1}))
        assert (model.created_by, model.workspace) == ("ada", "default")
        assert models.get(PRINCIPAL, LATEST) == model

    def test_says_what_its_pickles_would_import(
        self, models: Models, database: Database, blobs: LocalBlobs
    ) -> None:
        content = pickle.dumps({"read": os.path.join})
        file = FileReference(path="m.pkl", digest=upload(database, blobs, content))
        model = models.register(PRINCIPAL, RegisterModel(name="iris", files=(file,)))
        assert model.imports == Imports(names=("posixpath.join",), complete=True)
        assert models.get(PRINCIPAL, LATEST).imports == model.imports
        text = FileReference(path="m.txt", digest=upload(database, blobs, b"text"))
        plain = models.register(PRINCIPAL, RegisterModel(name="plain", files=(text,)))
        assert plain.imports is None

    def test_believes_a_framework_that_is_given(
        self, models: Models, request_: RegisterModel
    ) -> None:
        request = request_.model_copy(update={"framework": "mine", "framework_version": "2"})
        model = models.register(PRINCIPAL, request)
        assert (model.framework, model.framework_version) == ("mine", "2")

    def test_reads_the_version_of_its_own_framework_only(
        self, models: Models, database: Database, blobs: LocalBlobs
    ) -> None:
        digest = upload(database, blobs, pickle.dumps(LogisticRegression()))
        file = FileReference(path="model.pkl", digest=digest)
        request = RegisterModel(name="iris", files=(file,))
        model = models.register(PRINCIPAL, request)
        assert (model.framework, model.framework_version) == ("scikit-learn", sklearn.__version__)
        other = models.register(PRINCIPAL, request.model_copy(update={"framework": "mine"}))
        assert (other.framework, other.framework_version) == ("mine", None)

    def test_refuses_what_was_not_uploaded(self, models: Models) -> None:
        digest = f"sha256:{'0' * 64}"
        request = RegisterModel(name="iris", files=(FileReference(path="m", digest=digest),))
        with pytest.raises(NotFound, match="are not there") as refused:
            models.register(PRINCIPAL, request)
        assert refused.value.details["missing"] == [digest]

    def test_refuses_what_is_recorded_and_lost(
        self, models: Models, blobs: LocalBlobs, request_: RegisterModel
    ) -> None:
        blobs.delete(request_.files[0].digest)
        with pytest.raises(NotFound, match="not in the blob store"):
            models.register(PRINCIPAL, request_)
        assert models.search(PRINCIPAL, Search()).items == ()

    def test_refuses_files_that_collide(self, models: Models, request_: RegisterModel) -> None:
        digest = request_.files[0].digest
        files = tuple(FileReference(path=path, digest=digest) for path in ("a/B", "A/b"))
        with pytest.raises(InvalidRequest, match="`A/b` and `a/B` cannot be in one folder"):
            models.register(PRINCIPAL, request_.model_copy(update={"files": files}))


class TestIdempotency:
    def test_a_repeat_gets_the_same_answer(self, models: Models, request_: RegisterModel) -> None:
        first = models.register(PRINCIPAL, request_, "key-12345")
        models.change_labels(PRINCIPAL, LATEST, ChangeLabels(add_tags={"a": "1"}))
        assert models.register(PRINCIPAL, request_, "key-12345") == first
        assert len(models.search(PRINCIPAL, Search()).items) == 1

    def test_a_key_is_for_one_request(self, models: Models, request_: RegisterModel) -> None:
        models.register(PRINCIPAL, request_, "key-12345")
        with pytest.raises(Conflict, match="was used before"):
            models.register(PRINCIPAL, request_.model_copy(update={"name": "other"}), "key-12345")

    def test_without_a_key_every_request_is_new(
        self, models: Models, request_: RegisterModel
    ) -> None:
        registered = [
            models.register(PRINCIPAL, request_).version,
            models.register(PRINCIPAL, request_).version,
            models.register(PRINCIPAL, request_, "key-12345").version,
            models.register(OTHER, request_, "key-12345").version,
        ]
        assert registered == [1, 2, 3, 4]


class TestRest:
    def test_labels_change(self, models: Models, request_: RegisterModel) -> None:
        models.register(PRINCIPAL, request_)
        changed = models.change_labels(
            PRINCIPAL, LATEST, ChangeLabels(add_tags={"a": "1"}, add_properties={"b": "2"})
        )
        assert (changed.tags, changed.properties) == ({"a": "1"}, {"b": "2"})
        assert models.search(PRINCIPAL, Search(tag=("a=1",))).items == (changed,)

    def test_delete_is_refused_while_an_image_needs_it(
        self, models: Models, database: Database, request_: RegisterModel
    ) -> None:
        model = models.register(PRINCIPAL, request_)
        with database.write() as tx:
            add_image(tx, "digits", models=[model])
        with pytest.raises(InUse):
            models.delete(PRINCIPAL, LATEST)
        with database.write() as tx:
            tx.images.delete("default", Reference("digits", 1))
        models.delete(PRINCIPAL, LATEST)
        with pytest.raises(NotFound):
            models.get(PRINCIPAL, LATEST)


class TestCollisions:
    @pytest.mark.parametrize(
        "paths",
        [
            ("a", "a"),
            ("model.pkl", "MODEL.pkl"),
            ("straße", "STRASSE"),
            ("é", "e\u0301"),
            ("ﬁle", "file"),
            ("a", "a/b"),
            ("a/b", "a"),
            ("x/y/z", "X/Y"),
            ("x/y", "X/Y/z/q"),
        ],
    )
    def test_are_refused(self, paths: tuple[str, ...]) -> None:
        with pytest.raises(InvalidRequest, match="cannot be in one folder"):
            refuse_collisions(paths)

    def test_neighbours_are_fine(self) -> None:
        refuse_collisions(["a/b", "a/c", "ab", "a.b", "b/a/c", "b/a/b"])

    @given(st.lists(st.lists(st.sampled_from("abAB"), min_size=1, max_size=3), max_size=5))
    def test_whatever_passes_can_be_laid_out(self, parts: list[list[str]]) -> None:
        paths = ["/".join(part) for part in parts]
        folded = [path.lower() for path in paths]
        clash = any(
            one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")
            for index, one in enumerate(folded)
            for other in folded[:index]
        )
        if clash:
            with pytest.raises(InvalidRequest):
                refuse_collisions(paths)
        else:
            refuse_collisions(paths)
