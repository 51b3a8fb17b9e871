from __future__ import annotations

import hashlib
from typing import Any

import pytest
from starlette.testclient import TestClient

CONTENT = b"weights of a model"
DIGEST = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
BLOBS = "/api/v1/blobs"
MODELS = "/api/v1/models"


def upload(client: TestClient, content: bytes = CONTENT) -> str:
    answer = client.post(BLOBS, content=content)
    assert answer.status_code == 201
    return str(answer.json()["digest"])


def register(client: TestClient, name: str = "iris", **fields: Any) -> dict[str, Any]:
    body = {"name": name, "files": [{"path": "model.pkl", "digest": upload(client)}], **fields}
    answer = client.post(MODELS, json=body)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def test_a_blob_comes_back_as_it_was(owner: TestClient) -> None:
    assert upload(owner) == DIGEST
    answer = owner.get(f"{BLOBS}/{DIGEST}")
    assert answer.content == CONTENT
    assert answer.headers["content-disposition"] == "attachment"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("range_header", "part", "content_range"),
    [
        ("bytes=0-3", CONTENT[:4], f"bytes 0-3/{len(CONTENT)}"),
        ("bytes=8-", CONTENT[8:], f"bytes 8-{len(CONTENT) - 1}/{len(CONTENT)}"),
        ("bytes=8-999", CONTENT[8:], f"bytes 8-{len(CONTENT) - 1}/{len(CONTENT)}"),
    ],
)
def test_a_part_of_a_blob(
    owner: TestClient, range_header: str, part: bytes, content_range: str
) -> None:
    upload(owner)
    answer = owner.get(f"{BLOBS}/{DIGEST}", headers={"Range": range_header})
    assert (answer.status_code, answer.content) == (206, part)
    assert answer.headers["content-range"] == content_range


@pytest.mark.parametrize("range_header", ["bytes=999-", "bytes=-5", "items=0-1", "bytes=5-2"])
def test_a_range_that_does_not_fit(owner: TestClient, range_header: str) -> None:
    upload(owner)
    answer = owner.get(f"{BLOBS}/{DIGEST}", headers={"Range": range_header})
    assert answer.status_code == 400


def test_an_upload_must_be_what_it_says(owner: TestClient) -> None:
    answer = owner.post(BLOBS, content=b"other bytes", headers={"Digest": DIGEST})
    assert (answer.status_code, answer.json()["code"]) == (422, "integrity")
    assert owner.get(f"{BLOBS}/{DIGEST}").status_code == 404


def test_an_upload_above_the_limit_is_refused(owner: TestClient) -> None:
    answer = owner.post(BLOBS, content=b"x" * ((1 << 20) + 1))
    assert answer.status_code == 400
    assert "MODELYARD_MAX_UPLOAD" in answer.json()["hint"]


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a//b", "a\\b", ".", "a/../b", "a\x00b"])
def test_a_path_that_climbs_is_refused(owner: TestClient, path: str) -> None:
    body = {"name": "iris", "files": [{"path": path, "digest": upload(owner)}]}
    answer = owner.post(MODELS, json=body)
    assert answer.status_code == 400
    assert owner.get(MODELS).json()["items"] == []


@pytest.mark.parametrize("name", ["Iris", "../iris", "iris/1", "", "i" * 129, "ir is", "ir\u0131s"])
def test_a_name_outside_the_grammar_is_refused(owner: TestClient, name: str) -> None:
    body = {"name": name, "files": [{"path": "model.pkl", "digest": upload(owner)}]}
    answer = owner.post(MODELS, json=body)
    assert answer.status_code == 400
    assert "`name`" in answer.json()["message"]


def test_an_unknown_field_is_refused(owner: TestClient) -> None:
    body = {"name": "iris", "files": [{"path": "m", "digest": upload(owner)}], "version": 7}
    answer = owner.post(MODELS, json=body)
    assert answer.status_code == 400
    assert "version" in answer.json()["message"]


def test_versions_count_and_are_never_used_again(owner: TestClient) -> None:
    assert [register(owner)["version"] for _ in range(3)] == [1, 2, 3]
    assert owner.delete(f"{MODELS}/iris/versions/3").status_code == 204
    assert register(owner)["version"] == 4
    assert owner.get(f"{MODELS}/iris/versions/latest").json()["version"] == 4
    assert owner.get(f"{MODELS}/iris/versions/3").status_code == 404


def test_the_same_key_gives_the_same_version(owner: TestClient) -> None:
    body = {"name": "iris", "files": [{"path": "m", "digest": upload(owner)}]}
    headers = {"Idempotency-Key": "a-key-of-mine"}
    first = owner.post(MODELS, json=body, headers=headers)
    again = owner.post(MODELS, json=body, headers=headers)
    assert first.json() == again.json()
    other = owner.post(MODELS, json={**body, "name": "other"}, headers=headers)
    assert other.status_code == 409


def test_search_in_any_combination_page_by_page(owner: TestClient) -> None:
    for number in range(5):
        register(owner, tags={"stage": "trial" if number % 2 else "live", "kind": ""})
    found = owner.get(MODELS, params={"tag": ["stage=live", "kind"], "limit": 2}).json()
    assert [model["version"] for model in found["items"]] == [5, 3]
    rest = owner.get(
        MODELS, params={"tag": ["stage=live", "kind"], "limit": 2, "page": found["next"]}
    ).json()
    assert [model["version"] for model in rest["items"]] == [1]
    assert rest["next"] is None


@pytest.mark.parametrize(
    "query", [{"limit": 0}, {"limit": 1001}, {"version": 0}, {"page": "nonsense"}, {"color": "red"}]
)
def test_a_search_that_makes_no_sense_is_refused(
    owner: TestClient, query: dict[str, str | int]
) -> None:
    assert owner.get(MODELS, params=query).status_code == 400


def test_properties_are_only_added(owner: TestClient) -> None:
    register(owner, properties={"run": "7"})
    path = f"{MODELS}/iris/versions/1"
    assert owner.patch(path, json={"add_properties": {"data": "a"}}).status_code == 200
    refused = owner.patch(path, json={"add_properties": {"run": "8"}})
    assert refused.status_code == 409
    assert owner.get(path).json()["properties"] == {"run": "7", "data": "a"}


def test_a_build_with_a_broken_script_changes_nothing(owner: TestClient) -> None:
    script = upload(owner, b"def run(data:\n    return data\n")
    body = {
        "name": "iris",
        "models": [],
        "script": "score.py",
        "files": [{"path": "score.py", "digest": script}],
    }
    answer = owner.post("/api/v1/images", json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_script")
    assert "line 1" in answer.json()["message"]
    assert owner.get("/api/v1/images").json()["items"] == []
    assert owner.get("/api/v1/operations").json()["items"] == []
