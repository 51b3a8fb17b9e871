"""What the model registry must do, on whatever database."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import delete
from tests.factories import (
    OWNER,
    WORKSPACE,
    add_blob,
    add_image,
    add_model,
    add_running_image,
    digest_of,
)

from modelyard.domain.model import ModelFile, ModelFormat
from modelyard.domain.search import Search
from modelyard.domain.values import Reference
from modelyard.errors import Conflict, InUse, InvalidRequest, NotFound
from modelyard.schemas import ChangeLabels, FileReference, RegisterModel
from modelyard.store import Database, Transaction
from modelyard.store.rows import BlobRow, ModelRow


def found(tx: Transaction, **filters: object) -> list[str]:
    page = tx.models.search(WORKSPACE, Search.model_validate(filters))
    return [model.reference for model in page.items]


class TestAdd:
    def test_counts_versions_per_name(self, tx: Transaction) -> None:
        added = [add_model(tx, name).reference for name in ("a", "b", "a", "a")]
        assert added == ["a:1", "b:1", "a:2", "a:3"]

    def test_counts_versions_per_workspace(self, tx: Transaction, elsewhere: str) -> None:
        add_model(tx)
        assert add_model(tx, workspace=elsewhere).version == 1

    def test_never_gives_a_number_twice(self, tx: Transaction) -> None:
        for expected in (1, 2, 3):
            assert add_model(tx).version == expected
            tx.models.delete(WORKSPACE, Reference("iris", expected))

    def test_gives_back_the_number_of_an_undone_transaction(self, database: Database) -> None:
        with contextlib.suppress(ZeroDivisionError), database.write() as tx:
            assert add_model(tx).version == 1
            raise ZeroDivisionError
        with database.write() as tx:
            assert add_model(tx).version == 1

    def test_keeps_everything(self, database: Database) -> None:
        with database.write() as tx:
            digests = [add_blob(tx, text) for text in ("b", "a")]
            request = RegisterModel(
                name="iris",
                files=(
                    FileReference(path="z/two.bin", digest=digests[0]),
                    FileReference(path="a.bin", digest=digests[1]),
                ),
                framework_version="1.9",
                description="line one\nÜmlaut",
                tags={"stage": "test", "bare": ""},
                properties={"accuracy": "0.98"},
                sample_input={"data": [[1.5, None, "x\u0000\ud7ff"]]},
            )
            files = [
                ModelFile(path=file.path, digest=file.digest, size=1) for file in request.files
            ]
            added = tx.models.add(
                WORKSPACE,
                request,
                files=files,
                format=ModelFormat.ONNX,
                framework="pytorch",
                created_by=OWNER,
            )
        with database.read() as tx:
            model = tx.models.get(WORKSPACE, Reference("iris", 1))
        assert model == added
        assert model.files == tuple(files)
        assert model.tags == request.tags
        assert model.properties == request.properties
        assert model.sample_input == request.sample_input
        assert (model.format, model.framework) == (ModelFormat.ONNX, "pytorch")
        assert model.created_at.utcoffset() == timedelta(0)

    def test_refuses_files_that_were_not_uploaded(self, database: Database) -> None:
        gone = digest_of("never uploaded")
        request = RegisterModel(name="iris", files=(FileReference(path="m", digest=gone),))
        with pytest.raises(NotFound) as refused, database.write() as tx:
            tx.models.add(
                WORKSPACE,
                request,
                files=[ModelFile(path="m", digest=gone, size=1)],
                format=ModelFormat.CUSTOM,
                framework=None,
                created_by=OWNER,
            )
        assert refused.value.details["missing"] == [gone]
        with database.read() as tx:
            assert found(tx) == []

    def test_fifty_at_once_give_fifty_numbers_in_a_row(self, database: Database) -> None:
        def register(_: int) -> int:
            with database.write() as tx:
                return add_model(tx).version

        with ThreadPoolExecutor(50) as threads:
            versions = list(threads.map(register, range(50)))
        assert sorted(versions) == list(range(1, 51))


class TestGet:
    def test_takes_the_latest_that_exists(self, tx: Transaction) -> None:
        for _ in range(3):
            add_model(tx)
        tx.models.delete(WORKSPACE, Reference("iris", 3))
        assert tx.models.get(WORKSPACE, Reference("iris", None)).version == 2

    def test_names_the_versions_there_are(self, tx: Transaction) -> None:
        add_model(tx)
        add_model(tx)
        with pytest.raises(NotFound, match="iris:7") as refused:
            tx.models.get(WORKSPACE, Reference("iris", 7))
        assert refused.value.hint == "existing versions, newest first: 2, 1"

    def test_names_what_was_probably_meant(self, tx: Transaction) -> None:
        add_model(tx, "iris")
        with pytest.raises(NotFound) as refused:
            tx.models.get(WORKSPACE, Reference("irs", None))
        assert refused.value.hint == "did you mean `iris`?"

    def test_names_what_there_is(self, tx: Transaction) -> None:
        with pytest.raises(NotFound) as refused:
            tx.models.get(WORKSPACE, Reference("iris", None))
        assert refused.value.hint == "there are no models yet"
        add_model(tx, "weather")
        with pytest.raises(NotFound) as refused:
            tx.models.get(WORKSPACE, Reference("iris", None))
        assert refused.value.hint == "there are: `weather`"

    def test_sees_only_its_workspace(self, tx: Transaction, elsewhere: str) -> None:
        add_model(tx)
        with pytest.raises(NotFound):
            tx.models.get(elsewhere, Reference("iris", 1))
        assert tx.models.search(elsewhere, Search()).items == ()


class TestSearch:
    @pytest.fixture(autouse=True)
    def _models(self, tx: Transaction) -> None:
        add_model(tx, "iris", tags={"stage": "test"}, framework="scikit-learn")
        add_model(tx, "iris", tags={"stage": "live", "hot": ""}, properties={"stage": "p"})
        add_model(tx, "digits", tags={"stage": "live"}, description="100% of MNIST_small, Straße")
        add_model(tx, "digits", properties={"accuracy": "0.98"}, framework="pytorch")

    @pytest.mark.parametrize(
        ("filters", "expected"),
        [
            ({}, ["digits:2", "digits:1", "iris:2", "iris:1"]),
            ({"name": "iris"}, ["iris:2", "iris:1"]),
            ({"name": "iri"}, []),
            ({"version": 1}, ["digits:1", "iris:1"]),
            ({"tag": ["stage"]}, ["digits:1", "iris:2", "iris:1"]),
            ({"tag": ["stage=live"]}, ["digits:1", "iris:2"]),
            ({"tag": ["stage=live", "hot"]}, ["iris:2"]),
            ({"tag": ["hot="]}, ["iris:2"]),
            ({"tag": ["stage="]}, []),
            ({"tag": ["stage=live", "stage=test"]}, []),
            ({"property": ["stage"]}, ["iris:2"]),
            ({"property": ["accuracy=0.98"]}, ["digits:2"]),
            ({"framework": "pytorch"}, ["digits:2"]),
            ({"text": "IRIS"}, ["iris:2", "iris:1"]),
            ({"text": "STRASSE"}, ["digits:1"]),
            ({"text": "100%"}, ["digits:1"]),
            ({"text": "T_s"}, ["digits:1"]),
            ({"text": "0%9"}, []),
            ({"text": "accuracy=0.9"}, ["digits:2"]),
            ({"tag": ["stage=live"], "name": "iris", "text": "hot", "version": 2}, ["iris:2"]),
        ],
    )
    def test_applies_every_filter(
        self, tx: Transaction, filters: dict[str, object], expected: list[str]
    ) -> None:
        assert found(tx, **filters) == expected

    def test_filters_by_time(self, tx: Transaction) -> None:
        third = tx.models.get(WORKSPACE, Reference("digits", 1)).created_at
        assert found(tx, created_after=third) == ["digits:2"]
        assert found(tx, created_before=third) == ["iris:2", "iris:1"]

    def test_refuses_filters_of_other_things(self, tx: Transaction) -> None:
        with pytest.raises(InvalidRequest, match="models cannot be searched by image"):
            found(tx, image="digits")

    def test_pages_show_everything_once_while_models_come_and_go(self, tx: Transaction) -> None:
        first = tx.models.search(WORKSPACE, Search(limit=2))
        add_model(tx, "new")
        tx.models.delete(WORKSPACE, Reference("digits", 2))
        second = tx.models.search(WORKSPACE, Search(limit=2, page=first.next))
        references = [model.reference for model in (*first.items, *second.items)]
        assert references == ["digits:2", "digits:1", "iris:2", "iris:1"]
        assert second.next is None

    def test_pages_a_search_by_tag(self, tx: Transaction) -> None:
        first = tx.models.search(WORKSPACE, Search(tag=("stage",), limit=1))
        rest = tx.models.search(WORKSPACE, Search(tag=("stage",), page=first.next))
        assert [model.reference for model in rest.items] == ["iris:2", "iris:1"]

    @pytest.mark.parametrize("page", ["", "x", "c2VxOng", "2", "ü", "c2VxOi0x"])
    def test_refuses_a_page_that_is_none(self, tx: Transaction, page: str) -> None:
        with pytest.raises(InvalidRequest, match="`page`"):
            found(tx, page=page)


class TestChangeLabels:
    def change(self, tx: Transaction, **change: object) -> tuple[dict[str, str], dict[str, str]]:
        request = ChangeLabels.model_validate(change)
        model = tx.models.change_labels(WORKSPACE, Reference("iris", None), request)
        assert model == tx.models.get(WORKSPACE, Reference("iris", None))
        return model.tags, model.properties

    def test_replaces_adds_and_removes_tags(self, tx: Transaction) -> None:
        add_model(tx, tags={"a": "1", "b": "2"})
        assert self.change(tx, add_tags={"c": "3", "a": "9"}, remove_tags=["b"]) == (
            {"a": "9", "c": "3"},
            {},
        )
        assert self.change(tx, tags={"x": ""}) == ({"x": ""}, {})
        assert found(tx, tag=["a"]) == []
        assert found(tx, tag=["x"], text="x=") == ["iris:1"]

    def test_only_adds_properties(self, tx: Transaction) -> None:
        add_model(tx, properties={"a": "1"})
        assert self.change(tx, add_properties={"a": "1", "b": "2"})[1] == {"a": "1", "b": "2"}
        with pytest.raises(Conflict, match="property `a` of model `iris` is already `1`"):
            self.change(tx, add_properties={"a": "2", "c": "3"})
        assert tx.models.get(WORKSPACE, Reference("iris", 1)).properties == {"a": "1", "b": "2"}

    def test_changes_the_description(self, tx: Transaction) -> None:
        add_model(tx, description="before")
        self.change(tx, description="afterwards")
        assert found(tx, text="afterwards") == ["iris:1"]
        assert found(tx, text="before") == []


class TestDelete:
    def test_removes_the_version(self, tx: Transaction) -> None:
        add_model(tx, tags={"a": "1"})
        tx.models.delete(WORKSPACE, Reference("iris", 1))
        assert found(tx) == found(tx, tag=["a"]) == []
        with pytest.raises(NotFound):
            tx.models.delete(WORKSPACE, Reference("iris", 1))

    def test_lists_the_images_that_need_it(self, tx: Transaction) -> None:
        model = add_model(tx)
        add_image(tx, "one", models=[model])
        add_running_image(tx, "two", models=[model])
        with pytest.raises(InUse, match="needed by 2 images: one:1, two:1") as refused:
            tx.models.delete(WORKSPACE, Reference("iris", 1))
        assert refused.value.details == {"users": ["one:1", "two:1"]}

    def test_is_refused_by_the_database_itself(self, database: Database) -> None:
        with database.write() as tx:
            add_image(tx, models=[add_model(tx)])
        for row in (ModelRow, BlobRow):
            with pytest.raises(Conflict), database.write() as tx:
                tx._session.execute(delete(row))


@pytest.mark.parametrize("format", ModelFormat)
def test_the_database_takes_every_format(tx: Transaction, format: ModelFormat) -> None:
    digest = add_blob(tx)
    added = tx.models.add(
        WORKSPACE,
        RegisterModel(name="iris", files=(FileReference(path="m", digest=digest),)),
        files=[ModelFile(path="m", digest=digest, size=5)],
        format=format,
        framework=None,
        created_by=OWNER,
    )
    assert tx.models.get(WORKSPACE, Reference("iris", 1)).format is added.format is format
