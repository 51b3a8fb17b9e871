"""What the image registry must do, on whatever database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from tests.factories import (
    KEY,
    OWNER,
    WORKSPACE,
    add_blob,
    add_image,
    add_model,
    add_running_image,
    add_service,
    digest_of,
    make_manifest,
)

from modelyard.domain.cause import Cause, CauseCode
from modelyard.domain.image import Base, BaseLayer, CheckReport, ImageState, Package
from modelyard.domain.optimization import Optimization
from modelyard.domain.search import Search
from modelyard.domain.values import Reference
from modelyard.errors import Conflict, InUse, NotFound
from modelyard.images.signing import SigningKey
from modelyard.schemas import BuildImage, ChangeLabels, FileReference
from modelyard.store import Transaction

CAUSE = Cause(code=CauseCode.INIT_RAISED, message="it raised", evidence=("line 3",))
PACKAGES = [Package(name="numpy", version="2.0")]
SIGNATURE = KEY.sign("sha256:" + "0" * 64)


def found(tx: Transaction, **filters: object) -> list[str]:
    page = tx.images.search(WORKSPACE, Search.model_validate(filters))
    return [image.reference for image in page.items]


def nothing_holds(tx: Transaction, text: str) -> bool:
    later = datetime.now(UTC) + timedelta(days=2)
    return digest_of(text) in tx.blobs.unreferenced(later)


class TestAdd:
    def test_begins_running_with_the_next_version(self, tx: Transaction) -> None:
        models = [add_model(tx, "b"), add_model(tx, "a")]
        first = add_running_image(tx, models=models, requirements=("numpy",))
        second = add_running_image(tx, tags={"a": "1"}, description="text")
        assert (first.reference, second.reference) == ("digits:1", "digits:2")
        assert first.state is ImageState.RUNNING
        assert first.models == ("b:1", "a:1")
        assert (first.script, first.requirements) == ("score.py", ("numpy",))
        assert (second.tags, second.description) == ({"a": "1"}, "text")
        assert tx.images.get(WORKSPACE, Reference("digits", 1)) == first

    def test_names_its_operation(self, tx: Transaction) -> None:
        image = add_running_image(tx)
        assert tx.operations.get(WORKSPACE, image.operation).resource == "image digits:1"

    def test_remembers_the_request(self, tx: Transaction) -> None:
        image = add_running_image(tx, sample={"data": [1]}, upgrade=True)
        request = tx.images.request(image.id)
        assert isinstance(request, BuildImage)
        assert (request.sample, request.upgrade) == ({"data": [1]}, True)

    def test_refuses_a_model_deleted_meanwhile(self, tx: Transaction) -> None:
        model = add_model(tx)
        tx.models.delete(WORKSPACE, Reference("iris", 1))
        with pytest.raises(NotFound, match="iris:1"):
            add_running_image(tx, models=[model])

    def test_refuses_files_that_were_not_uploaded(self, tx: Transaction) -> None:
        image = add_running_image(tx)
        request = BuildImage(
            name="digits",
            models=(),
            script="score.py",
            files=(FileReference(path="score.py", digest=digest_of("never uploaded")),),
        )
        with pytest.raises(NotFound, match="blobs are not there"):
            tx.images.add(WORKSPACE, request, [], "inputs", image.operation, OWNER)

    def test_lists_what_runs(self, tx: Transaction) -> None:
        add_image(tx, "built")
        running = [add_running_image(tx, "one"), add_running_image(tx, "two")]
        assert list(tx.images.running()) == running


class TestFindSame:
    def test_finds_the_newest_that_is_built_or_being_built(self, tx: Transaction) -> None:
        assert tx.images.find_same(WORKSPACE, "inputs") is None
        built = add_image(tx)
        assert tx.images.find_same(WORKSPACE, "inputs") == built
        running = add_running_image(tx)
        assert tx.images.find_same(WORKSPACE, "inputs") == running
        tx.images.fail(running.id, CAUSE)
        assert tx.images.find_same(WORKSPACE, "inputs") == built

    def test_tells_names_inputs_and_workspaces_apart(self, tx: Transaction, elsewhere: str) -> None:
        add_image(tx, "digits")
        assert tx.images.find_same(WORKSPACE, "inputs", "other") is None
        assert tx.images.find_same(WORKSPACE, "other") is None
        assert tx.images.find_same(elsewhere, "inputs") is None


class TestEnd:
    def test_success_keeps_what_was_made(self, tx: Transaction) -> None:
        image = add_running_image(tx)
        report = CheckReport(
            workers=2, cold_start=0.5, memory=1, answer=[1], checked_at=datetime.now(UTC)
        )
        manifest, found = make_manifest(), Optimization(kept="ONNX", methods=("predict",))
        signature = KEY.sign(manifest.digest)
        built = tx.images.succeed(image.id, manifest, signature, PACKAGES, report, found)
        assert built == tx.images.get(WORKSPACE, Reference("digits", None))
        assert built.state is ImageState.SUCCEEDED
        assert (built.digest, built.manifest) == (manifest.digest, manifest)
        assert built.signature == signature
        assert (built.packages, built.check) == (tuple(PACKAGES), report)
        assert built.optimization == found

    def test_success_holds_the_layers_instead_of_the_files(self, tx: Transaction) -> None:
        image = add_running_image(tx)
        assert not nothing_holds(tx, "score.py")
        tx.images.succeed(image.id, make_manifest(layer="mine"), SIGNATURE, PACKAGES, None)
        assert nothing_holds(tx, "score.py")
        assert not nothing_holds(tx, "mine model")

    def test_success_holds_the_layers_of_the_base_too(self, tx: Transaction) -> None:
        layers = tuple(
            BaseLayer(digest=digest_of(name), size=10, media_type="a tar", diff_id=digest_of(name))
            for name in ("system", "python")
        )
        base = Base(origin="image", digest=digest_of("base"), python="/bin/python3", layers=layers)
        manifest = make_manifest().model_copy(update={"base": base})
        running = add_running_image(tx, base="none")
        image = tx.images.succeed(running.id, manifest, SIGNATURE, PACKAGES, None)
        assert (image.base, image.manifest) == ("none", manifest)
        assert not nothing_holds(tx, "system")
        assert not nothing_holds(tx, "python")
        tx.images.delete(WORKSPACE, Reference("digits", 1))
        assert nothing_holds(tx, "system")
        assert nothing_holds(tx, "python")

    def test_success_holds_the_sbom_that_was_signed(self, tx: Transaction) -> None:
        image, sbom = add_running_image(tx), add_blob(tx, "sbom")
        signature = KEY.sign(make_manifest().digest, sbom)
        tx.images.succeed(image.id, make_manifest(), signature, PACKAGES, None)
        assert not nothing_holds(tx, "sbom")
        tx.images.delete(WORKSPACE, Reference("digits", None))
        assert nothing_holds(tx, "sbom")

    def test_an_sbom_that_is_not_there_is_refused(self, tx: Transaction) -> None:
        image = add_running_image(tx)
        signature = KEY.sign(make_manifest().digest, digest_of("nothing"))
        with pytest.raises(NotFound):
            tx.images.succeed(image.id, make_manifest(), signature, PACKAGES, None)

    def test_failure_keeps_the_cause_and_lets_go_of_files_and_models(self, tx: Transaction) -> None:
        image = add_running_image(tx, models=[add_model(tx)])
        failed = tx.images.fail(image.id, CAUSE)
        assert (failed.state, failed.cause) == (ImageState.FAILED, CAUSE)
        assert nothing_holds(tx, "score.py")
        tx.models.delete(WORKSPACE, Reference("iris", 1))
        assert tx.images.get(WORKSPACE, Reference("digits", 1)).models == ("iris:1",)

    def test_comes_once(self, tx: Transaction) -> None:
        image = add_image(tx)
        with pytest.raises(Conflict, match="has ended: Succeeded"):
            tx.images.fail(image.id, CAUSE)
        with pytest.raises(Conflict, match="has ended"):
            tx.images.succeed(image.id, make_manifest(), SIGNATURE, PACKAGES, None)


class TestSignAll:
    def test_signs_what_is_built_in_the_workspace(self, tx: Transaction, elsewhere: str) -> None:
        built, running = add_image(tx), add_running_image(tx, "other")
        foreign = add_image(tx, workspace=elsewhere)
        described, sbom = add_running_image(tx, "described"), add_blob(tx, "sbom")
        signature = KEY.sign(make_manifest().digest, sbom)
        described = tx.images.succeed(described.id, make_manifest(), signature, PACKAGES, None)
        key = SigningKey.generate()
        assert tx.images.sign_all(WORKSPACE, key.sign) == 2
        assert built.digest is not None
        assert described.digest is not None
        found = tx.images.get(WORKSPACE, Reference("described", 1))
        assert found.signature == key.sign(described.digest, sbom)
        assert tx.images.get(WORKSPACE, Reference("digits", 1)).signature == key.sign(built.digest)
        assert tx.images.get(WORKSPACE, Reference("other", 1)) == running
        assert tx.images.get(elsewhere, Reference("digits", 1)).signature == foreign.signature


class TestSearch:
    def test_finds_by_model_also_what_failed(self, tx: Transaction) -> None:
        iris, other = add_model(tx, "iris"), add_model(tx, "other")
        second = add_model(tx, "iris")
        add_image(tx, "one", models=[iris, other])
        add_image(tx, "two", models=[second])
        failing = add_running_image(tx, "three", models=[iris])
        tx.images.fail(failing.id, CAUSE)
        assert found(tx, model="iris") == ["three:1", "two:1", "one:1"]
        assert found(tx, model="iris:1") == ["three:1", "one:1"]
        assert found(tx, model="iris:3") == []

    def test_shares_the_filters_of_models(self, tx: Transaction) -> None:
        add_image(tx, "one", tags={"a": "1"})
        add_image(tx, "one", properties={"a": "1"}, description="Second")
        assert found(tx, tag=["a=1"]) == ["one:1"]
        assert found(tx, property=["a"], text="second", name="one", version=2) == ["one:2"]

    def test_changed_labels_are_found(self, tx: Transaction) -> None:
        add_image(tx)
        change = ChangeLabels(add_tags={"x": "1"}, add_properties={"y": "2"})
        changed = tx.images.change_labels(WORKSPACE, Reference("digits", None), change)
        assert (changed.tags, changed.properties) == ({"x": "1"}, {"y": "2"})
        assert found(tx, tag=["x=1"], property=["y=2"]) == ["digits:1"]


class TestDelete:
    def test_frees_models_and_layers(self, tx: Transaction) -> None:
        add_image(tx, models=[add_model(tx)])
        tx.images.delete(WORKSPACE, Reference("digits", 1))
        tx.models.delete(WORKSPACE, Reference("iris", 1))
        assert nothing_holds(tx, "digits:1 model")
        assert add_running_image(tx).version == 2

    def test_lists_the_services_that_need_it(self, tx: Transaction) -> None:
        image = add_image(tx)
        add_service(tx, "two", image)
        add_service(tx, "one", image)
        with pytest.raises(InUse) as refused:
            tx.images.delete(WORKSPACE, Reference("digits", 1))
        assert refused.value.details == {"users": ["one", "two"]}

    def test_is_refused_while_it_is_built(self, tx: Transaction) -> None:
        add_running_image(tx)
        with pytest.raises(Conflict, match="is being built"):
            tx.images.delete(WORKSPACE, Reference("digits", 1))
