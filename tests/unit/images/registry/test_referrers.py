"""Attachments in a registry that lists what refers to what, and in one that lies."""

from __future__ import annotations

import json

import httpx2
import pytest
from tests.factories import KEY, digest_of
from tests.unit.images.registry.conftest import FakeNetwork

from modelyard.errors import IntegrityError
from modelyard.images.oci.attachments import (
    SBOM,
    SIGNATURE,
    Artifact,
    Attachment,
    artifact,
    attachments,
)
from modelyard.images.oci.documents import INDEX, MANIFEST, Descriptor
from modelyard.images.registry.client import Repository
from modelyard.images.registry.referrers import pull_attachments, push_artifacts

IMAGE = digest_of("image")
SUBJECT = Descriptor(media_type=MANIFEST, digest=digest_of("manifest"), size=7)
OTHER = Descriptor(media_type=MANIFEST, digest=digest_of("other"), size=7)
KEPT = attachments(IMAGE, KEY.sign(IMAGE), b"{}")
ARTIFACTS = [artifact(one, SUBJECT) for one in KEPT]


class FakeRegistry:
    """Keeps what is put; with `lists` it knows which manifests refer to which."""

    def __init__(self, *, lists: bool = True) -> None:
        self.lists = lists
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, tuple[bytes, str]] = {}
        self.listed: list[Descriptor] = []

    def keep(self, *artifacts: Artifact) -> None:
        for one in artifacts:
            self.blobs |= {blob.descriptor.digest: blob.content for blob in one.blobs}
            self.manifests[one.manifest.descriptor.digest] = (one.manifest.content, MANIFEST)
            self.listed.append(one.manifest.descriptor)

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        _, _, rest = request.url.path.partition("/team/a/")
        kind, _, name = rest.partition("/")
        if request.method == "POST":
            return httpx2.Response(202, headers={"location": "/v2/team/a/blobs/uploads/1"})
        if request.method == "PUT" and kind == "blobs":
            self.blobs[request.url.params["digest"]] = request.content
            return httpx2.Response(201)
        if request.method == "PUT":
            self.manifests[name] = (request.content, request.headers["content-type"])
            headers = {"oci-subject": SUBJECT.digest} if self.lists else {}
            return httpx2.Response(201, headers=headers)
        return self._get(kind, name)

    def _get(self, kind: str, name: str) -> httpx2.Response:
        if kind == "referrers" and self.lists:
            return self._index()
        if kind == "manifests" and name in self.manifests:
            body, media_type = self.manifests[name]
            return httpx2.Response(200, content=body, headers={"content-type": media_type})
        if kind == "blobs" and name in self.blobs:
            return httpx2.Response(200, content=self.blobs[name])
        return httpx2.Response(404, json={})

    def _index(self) -> httpx2.Response:
        entries = [one.model_dump(by_alias=True, exclude_none=True) for one in self.listed]
        body = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})
        return httpx2.Response(200, content=body, headers={"content-type": INDEX})


@pytest.fixture
def registry() -> FakeRegistry:
    return FakeRegistry()


@pytest.fixture
def repository(network: FakeNetwork, registry: FakeRegistry) -> Repository:
    return network.repository(registry)


def test_a_registry_that_lists_gets_the_artifacts_alone(
    registry: FakeRegistry, repository: Repository
) -> None:
    push_artifacts(repository, SUBJECT, ARTIFACTS)
    assert registry.manifests.keys() == {one.manifest.descriptor.digest for one in ARTIFACTS}
    registry.listed = [one.manifest.descriptor for one in ARTIFACTS]
    assert pull_attachments(repository, SUBJECT) == list(KEPT)


def test_for_another_a_tag_keeps_the_list_and_what_others_put_there(
    registry: FakeRegistry, repository: Repository
) -> None:
    registry.lists = False
    foreign = artifact(Attachment("application/x", b"x", {}), SUBJECT)
    push_artifacts(repository, SUBJECT, [foreign])
    push_artifacts(repository, SUBJECT, ARTIFACTS)
    push_artifacts(repository, SUBJECT, ARTIFACTS)
    body, media_type = registry.manifests[SUBJECT.digest.replace(":", "-")]
    listed = [one["artifactType"] for one in json.loads(body)["manifests"]]
    assert (media_type, listed) == (INDEX, ["application/x", SIGNATURE, SBOM])
    assert pull_attachments(repository, SUBJECT) == list(KEPT)


def test_an_image_may_have_none(registry: FakeRegistry, repository: Repository) -> None:
    assert pull_attachments(repository, SUBJECT) == []
    registry.lists = False
    assert pull_attachments(repository, SUBJECT) == []


def test_what_is_beside_another_image_is_not_taken(
    registry: FakeRegistry, repository: Repository
) -> None:
    registry.keep(*(artifact(one, OTHER) for one in KEPT))
    assert pull_attachments(repository, SUBJECT) == []


def test_what_was_taken_away_is_not_missed(registry: FakeRegistry, repository: Repository) -> None:
    registry.keep(*ARTIFACTS)
    del registry.manifests[ARTIFACTS[0].manifest.descriptor.digest]
    del registry.blobs[ARTIFACTS[1].blobs[1].descriptor.digest]
    assert pull_attachments(repository, SUBJECT) == []


def test_one_that_is_too_long_is_not_even_asked_for(
    registry: FakeRegistry, repository: Repository, network: FakeNetwork
) -> None:
    long = artifact(Attachment(SIGNATURE, b"x" * 100_000, {}), SUBJECT)
    registry.keep(long)
    with pytest.raises(IntegrityError):
        pull_attachments(repository, SUBJECT)
    assert not [request for request in network.requests if "/blobs/" in request.url.path]


def test_other_bytes_than_were_promised_are_refused(
    registry: FakeRegistry, repository: Repository
) -> None:
    registry.keep(*ARTIFACTS)
    digest = ARTIFACTS[0].blobs[1].descriptor.digest
    registry.blobs[digest] = registry.blobs[digest][:-1] + b"x"
    with pytest.raises(IntegrityError):
        pull_attachments(repository, SUBJECT)


def test_of_many_only_some_are_looked_at(registry: FakeRegistry, repository: Repository) -> None:
    many = (artifact(Attachment(SBOM, b"%d" % number, {}), SUBJECT) for number in range(100))
    registry.keep(*many)
    assert len(pull_attachments(repository, SUBJECT)) == 32
