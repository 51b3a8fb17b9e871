"""Images as archives, on the caller's side."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.unit.client.fake_server import FakeServer

from modelyard.client import Client
from modelyard.errors import Conflict, InsufficientStorage, InvalidRequest, NotFound


@pytest.fixture
def yard(yard: Client, tmp_path: Path) -> Client:
    (tmp_path / "model.pkl").write_bytes(b"model")
    yard.models.register("digits", tmp_path / "model.pkl")
    yard.images.build("digits", models=["digits"])
    return yard


class TestExport:
    def test_writes_the_file_whole(self, yard: Client, server: FakeServer, tmp_path: Path) -> None:
        seen: list[tuple[int, int | None]] = []
        yard.images.export(
            "digits", tmp_path / "out.tar", progress=lambda done, total: seen.append((done, total))
        )
        assert (tmp_path / "out.tar").read_bytes() == server.archive("oci")
        assert seen[-1] == (len(server.archive("oci")),) * 2
        assert {path.name for path in tmp_path.iterdir()} == {"model.pkl", "out.tar"}

    def test_into_a_stream(self, yard: Client, server: FakeServer) -> None:
        stream = io.BytesIO()
        yard.images.export("digits", stream, form="docker")
        assert stream.getvalue() == server.archive("docker")

    def test_into_a_folder(self, yard: Client, tmp_path: Path) -> None:
        yard.images.export("digits", tmp_path / "folder", form="containerfile")
        paths = {path.relative_to(tmp_path / "folder").as_posix() for path in files(tmp_path)}
        assert paths == {"Containerfile", "layers/00.tar"}

    def test_replaces_a_file_only_when_told(self, yard: Client, tmp_path: Path) -> None:
        (tmp_path / "out.tar").write_text("precious")
        with pytest.raises(Conflict):
            yard.images.export("digits", tmp_path / "out.tar")
        assert (tmp_path / "out.tar").read_text() == "precious"
        yard.images.export("digits", tmp_path / "out.tar", overwrite=True)
        assert (tmp_path / "out.tar").read_bytes() != b"precious"

    def test_a_place_that_will_not_do_costs_the_server_nothing(
        self, yard: Client, server: FakeServer, tmp_path: Path
    ) -> None:
        for place in ("model.pkl", "nowhere/out.tar"):
            with pytest.raises((Conflict, InvalidRequest)):
                yard.images.export("digits", tmp_path / place)
        assert server.asked("POST", ".*/exports") == []

    def test_never_replaces_a_folder(self, yard: Client, tmp_path: Path) -> None:
        (tmp_path / "folder").mkdir()
        with pytest.raises(Conflict):
            yard.images.export("digits", tmp_path / "folder", form="containerfile", overwrite=True)

    def test_a_folder_that_is_not_there(self, yard: Client, tmp_path: Path) -> None:
        with pytest.raises(InvalidRequest):
            yard.images.export("digits", tmp_path / "none" / "out.tar")

    def test_a_form_that_is_none(self, yard: Client, tmp_path: Path) -> None:
        with pytest.raises(InvalidRequest):
            yard.images.export("digits", tmp_path / "x", form="zip")

    def test_a_break_leaves_nothing(self, yard: Client, server: FakeServer, tmp_path: Path) -> None:
        server.breaks_archives = True
        with pytest.raises(Exception, match="does not answer"):
            yard.images.export("digits", tmp_path / "out.tar")
        with pytest.raises(Exception, match="does not answer"):
            yard.images.export("digits", tmp_path / "folder", form="containerfile")
        assert {path.name for path in tmp_path.iterdir()} == {"model.pkl"}

    def test_a_full_disk_leaves_nothing(
        self, yard: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(source: Any, target: Any) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("os.replace", full)
        with pytest.raises(InsufficientStorage, match="No space left"):
            yard.images.export("digits", tmp_path / "out.tar")
        assert {path.name for path in tmp_path.iterdir()} == {"model.pkl"}

    @pytest.mark.parametrize("name", ["../evil", "/etc/passwd", "layers/../../x", "other"])
    def test_a_server_does_not_choose_places(
        self, yard: Client, server: FakeServer, tmp_path: Path, name: str
    ) -> None:
        server.containerfile = name
        with pytest.raises(Exception, match="not known"):
            yard.images.export("digits", tmp_path / "folder", form="containerfile")
        assert {path.name for path in tmp_path.iterdir()} == {"model.pkl"}


def files(root: Path) -> list[Path]:
    return [path for path in (root / "folder").rglob("*") if path.is_file()]


class TestImport:
    def test_sends_an_archive(self, yard: Client, server: FakeServer, tmp_path: Path) -> None:
        (tmp_path / "in.tar").write_bytes(b"archive")
        image = yard.images.import_(tmp_path / "in.tar", name="digits", tags={"a": "b"})
        assert image.reference == "digits:1"
        sent = server.sent("/images/imports")
        assert server.blobs[sent["digest"]] == b"archive"
        assert (sent["name"], sent["tags"]) == ("digits", {"a": "b"})

    def test_sends_a_layout_as_one(self, yard: Client, server: FakeServer, tmp_path: Path) -> None:
        (tmp_path / "layout" / "blobs").mkdir(parents=True)
        (tmp_path / "layout" / "index.json").write_bytes(b"{}")
        (tmp_path / "layout" / "blobs" / "big").write_bytes(b"x" * 3_000_000)
        yard.images.import_(tmp_path / "layout")
        body = server.blobs[server.sent("/images/imports")["digest"]]
        with tarfile.open(fileobj=io.BytesIO(body)) as tar:
            sizes = {member.name: member.size for member in tar}
        assert sizes == {"index.json": 2, "blobs/big": 3_000_000}

    def test_of_nothing(self, yard: Client, tmp_path: Path) -> None:
        with pytest.raises(InvalidRequest):
            yard.images.import_(tmp_path / "none")


class TestRegistries:
    def test_push_says_what_was_done(self, yard: Client, server: FakeServer) -> None:
        pushed = yard.images.push("digits", "registry.example/digits:1")
        assert (pushed.image, pushed.to) == ("digits:1", "registry.example/digits:1")
        with pytest.raises(NotFound):
            yard.images.push("none", "registry.example/digits:1")

    def test_pull_gives_the_image(self, yard: Client, server: FakeServer) -> None:
        assert yard.images.pull("registry.example/digits:1").reference == "digits:1"
        assert server.sent("/images/pulls")["source"] == "registry.example/digits:1"

    def test_an_interrupt_ends_it(
        self, yard: Client, server: FakeServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupt(*given: Any, **named: Any) -> httpx2.Response:
            raise KeyboardInterrupt

        monkeypatch.setattr(yard.operations, "wait", interrupt)
        with pytest.raises(KeyboardInterrupt) as interrupted:
            yard.images.push("digits", "registry.example/digits:1")
        assert interrupted.value.__notes__ == ["the push was ended"]
        assert len(server.asked("POST", ".*/operations/.*/cancel")) == 1
