from __future__ import annotations

import hashlib
import io
import threading
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.unit.client.fake_server import FakeServer

from modelyard.client import Client
from modelyard.client.transfer import CHUNK
from modelyard.errors import Conflict, IntegrityError, InUse, InvalidRequest, NotFound


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class TestRegister:
    def test_file(self, yard: Client, server: FakeServer, project: Path) -> None:
        model = yard.models.register(
            "digits",
            project / "model.pkl",
            tags={"stage": "trial"},
            properties={"commit": "abc"},
            framework="scikit-learn",
            sample_input=[[1, 2]],
        )
        assert model.reference == "digits:1"
        assert model.tags == {"stage": "trial"}
        assert model.sample_input == [[1, 2]]
        assert [(file.path, file.digest) for file in model.files] == [
            ("model.pkl", sha256(b"\x80\x04model"))
        ]

    def test_same_name_is_the_next_version(self, yard: Client, project: Path) -> None:
        yard.models.register("digits", project / "model.pkl")
        assert yard.models.register("digits", project / "model.pkl").version == 2

    def test_folder(self, yard: Client, tmp_path: Path) -> None:
        for i in range(20):
            (tmp_path / f"part-{i:02}").write_bytes(bytes([i]) * i)
        model = yard.models.register("digits", tmp_path)
        assert [(file.path, file.size) for file in model.files] == [
            (f"part-{i:02}", i) for i in range(20)
        ]

    def test_stream(self, yard: Client, server: FakeServer) -> None:
        content = b"x" * (CHUNK + 1)
        model = yard.models.register("digits", io.BytesIO(content), file_name="model.onnx")
        assert model.files[0].digest == sha256(content)
        assert "content-length" not in server.asked("POST", "/api/v1/blobs")[0].headers

    def test_says_how_long_a_file_is(self, yard: Client, server: FakeServer, project: Path) -> None:
        yard.models.register("digits", project / "model.pkl")
        assert server.asked("POST", "/api/v1/blobs")[0].headers["content-length"] == "7"

    def test_tells_progress(self, yard: Client, tmp_path: Path) -> None:
        for name in ("a", "b"):
            (tmp_path / name).write_bytes(b"x" * (CHUNK + 5))
        seen: list[tuple[int, int | None]] = []
        yard.models.register(
            "digits", tmp_path, progress=lambda done, total: seen.append((done, total))
        )
        assert seen[-1] == (2 * CHUNK + 10, 2 * CHUNK + 10)
        assert [done for done, _ in seen] == sorted(done for done, _ in seen)

    def test_wrong_name_is_found_before_anything_is_sent(
        self, yard: Client, server: FakeServer, project: Path
    ) -> None:
        with pytest.raises(InvalidRequest, match="`name`: a name is made of lower-case") as caught:
            yard.models.register("Iris Model", project / "model.pkl")
        assert caught.value.details == {"fields": ["name"]}
        assert server.requests == []

    def test_bytes_that_arrive_changed_are_noticed(
        self, yard: Client, server: FakeServer, project: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        wrong = httpx2.Response(201, json={"digest": sha256(b""), "size": 7})
        monkeypatch.setattr(server, "_upload", lambda request: wrong)
        with pytest.raises(IntegrityError, match=r"`model\.pkl` arrived changed"):
            yard.models.register("digits", project / "model.pkl")

    def test_a_file_is_sent_again_after_a_break(
        self, yard: Client, server: FakeServer, project: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("modelyard.client.connection.PAUSES", (0.0,) * 4)
        server.failures = [httpx2.WriteError("broken pipe"), httpx2.ReadError("reset")]
        seen: list[int] = []
        model = yard.models.register(
            "digits", project / "model.pkl", progress=lambda done, _: seen.append(done)
        )
        assert model.version == 1
        assert len(server.asked("POST", "/api/v1/blobs")) == 3
        assert seen == [7, 0, 7, 0, 7]

    def test_a_file_that_grows_meanwhile_is_refused(
        self, yard: Client, server: FakeServer, tmp_path: Path
    ) -> None:
        model = tmp_path / "model.pkl"
        model.write_bytes(b"x" * CHUNK * 2)

        def grow(done: int, total: int | None) -> None:
            with model.open("ab") as file:
                file.write(b"more")

        with pytest.raises(InvalidRequest, match="changed while it was sent"):
            yard.models.register("digits", model, progress=grow)
        assert server.models == {}

    def test_one_failure_of_many_files_is_told(
        self, yard: Client, server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for i in range(50):
            (tmp_path / f"part-{i}").write_bytes(bytes([i]))
        real, lock, count = server._upload, threading.Lock(), iter(range(100))

        def upload(request: httpx2.Request) -> Any:
            with lock:
                if next(count) == 10:
                    raise InvalidRequest("the tenth is refused")
            return real(request)

        monkeypatch.setattr(server, "_upload", upload)
        with pytest.raises(InvalidRequest, match="the tenth is refused"):
            yard.models.register("digits", tmp_path)
        assert server.models == {}

    def test_text_stream_is_refused(self, yard: Client) -> None:
        with pytest.raises(InvalidRequest, match="gives text"):
            yard.models.register("digits", io.StringIO("x"), file_name="m")  # type: ignore[arg-type]

    def test_something_else_is_refused(self, yard: Client) -> None:
        with pytest.raises(InvalidRequest, match="from a dict"):
            yard.models.register("digits", {})  # type: ignore[arg-type]


class TestDownload:
    @pytest.fixture
    def registered(self, yard: Client, tmp_path: Path) -> Path:
        source = tmp_path / "source"
        (source / "data").mkdir(parents=True)
        (source / "MLmodel").write_bytes(b"flavors")
        (source / "data" / "model.bin").write_bytes(b"w" * 3000)
        (source / "empty").touch()
        yard.models.register("digits", source)
        return source

    def test_gives_the_same_files(self, yard: Client, registered: Path, tmp_path: Path) -> None:
        folder = yard.models.download("digits:1", tmp_path / "got")
        found = {
            str(path.relative_to(folder)): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file()
        }
        assert found == {"MLmodel": b"flavors", "data/model.bin": b"w" * 3000, "empty": b""}
        assert sorted(path.name for path in tmp_path.iterdir()) == ["got", "source"]

    def test_refuses_a_folder_that_exists(
        self, yard: Client, registered: Path, tmp_path: Path
    ) -> None:
        with pytest.raises(Conflict, match="exists already"):
            yard.models.download("digits", tmp_path)

    def test_into_a_folder_that_exists(
        self, yard: Client, registered: Path, tmp_path: Path
    ) -> None:
        target = tmp_path / "got"
        target.mkdir()
        (target / "mine").write_text("kept")
        (target / "MLmodel").write_text("old")
        yard.models.download("digits", target, exist_ok=True)
        assert (target / "mine").read_text() == "kept"
        assert (target / "MLmodel").read_text() == "flavors"
        assert sorted(path.name for path in target.iterdir()) == [
            "MLmodel",
            "data",
            "empty",
            "mine",
        ]

    def test_never_writes_through_a_link(
        self, yard: Client, registered: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "got").mkdir()
        (tmp_path / "got" / "data").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(Conflict, match="a link is in the way"):
            yard.models.download("digits", tmp_path / "got", exist_ok=True)
        assert list((tmp_path / "elsewhere").iterdir()) == []

    def test_other_bytes_are_refused_and_leave_nothing(
        self, yard: Client, server: FakeServer, registered: Path, tmp_path: Path
    ) -> None:
        server.blobs[sha256(b"flavors")] = b"flavorz"
        with pytest.raises(IntegrityError, match="`MLmodel` arrived with other bytes"):
            yard.models.download("digits", tmp_path / "got")
        assert [path.name for path in tmp_path.iterdir()] == ["source"]

    def test_a_path_that_climbs_is_refused(
        self, yard: Client, server: FakeServer, registered: Path, tmp_path: Path
    ) -> None:
        server.models["digits"][0]["files"][0]["path"] = "../escaped"
        with pytest.raises(Exception, match="not a Model"):
            yard.models.download("digits", tmp_path / "got")
        assert not (tmp_path / "escaped").exists()

    def test_goes_on_where_it_broke(
        self, yard: Client, server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("modelyard.client.connection.PAUSES", (0.0,) * 4)
        content = bytes(range(256)) * 100
        yard.models.register("digits", io.BytesIO(content), file_name="model.bin")
        real = server._download

        class Broken(httpx2.SyncByteStream):
            def __iter__(self) -> Any:
                yield content[:1000]
                raise httpx2.ReadError("reset")

        def download(request: httpx2.Request, digest: str) -> httpx2.Response:
            if "range" in request.headers:
                return real(request, digest)
            return httpx2.Response(200, stream=Broken())

        monkeypatch.setattr(server, "_download", download)
        folder = yard.models.download("digits", tmp_path / "got")
        assert (folder / "model.bin").read_bytes() == content
        assert server.asked("GET", "/api/v1/blobs/.*")[-1].headers["range"] == "bytes=1000-"


class TestFind:
    def test_get(self, yard: Client, project: Path) -> None:
        yard.models.register("digits", project / "model.pkl")
        assert yard.models.get("digits:1") == yard.models.get("digits")
        with pytest.raises(NotFound, match="digits:2"):
            yard.models.get("digits:2")
        with pytest.raises(InvalidRequest, match="not a model reference"):
            yard.models.get("../../etc")

    def test_search_reads_all_pages(self, yard: Client, server: FakeServer, project: Path) -> None:
        for _ in range(3):
            yard.models.register("digits", project / "model.pkl")
        server.models["digits"] = server.models["digits"] * 150
        assert len(list(yard.models.search(name="digits"))) == 450
        assert len(server.asked("GET", "/api/v1/models")) == 3

    def test_list_stops_early(self, yard: Client, server: FakeServer, project: Path) -> None:
        yard.models.register("digits", project / "model.pkl")
        server.models["digits"] = server.models["digits"] * 450
        assert len(yard.models.list(limit=5)) == 5
        assert len(server.asked("GET", "/api/v1/models")) == 1

    def test_filters_are_sent(self, yard: Client, server: FakeServer) -> None:
        yard.models.page(tag=["stage=prod", "team"], property="commit=abc", text="x", limit=7)
        query = server.requests[-1].url.params
        assert query.get_list("tag") == ["stage=prod", "team"]
        assert query.get_list("property") == ["commit=abc"]
        assert (query["text"], query["limit"]) == ("x", "7")
        assert "framework" not in query

    def test_wrong_filter_is_refused(self, yard: Client) -> None:
        with pytest.raises(InvalidRequest, match="`limit`"):
            yard.models.page(limit=0)
        with pytest.raises(InvalidRequest, match="`colour`: there is no such field"):
            yard.models.page(colour="red")  # type: ignore[call-arg]


class TestLabels:
    def test_change(self, yard: Client, project: Path) -> None:
        yard.models.register("digits", project / "model.pkl", tags={"a": "1", "b": "2"})
        assert yard.models.add_tags("digits:1", {"c": "3"}).tags == {"a": "1", "b": "2", "c": "3"}
        assert yard.models.remove_tags("digits:1", "a", "b").tags == {"c": "3"}
        assert yard.models.replace_tags("digits:1", {"d": ""}).tags == {"d": ""}
        assert yard.models.add_properties("digits:1", {"p": "q"}).properties == {"p": "q"}
        assert yard.models.describe("digits:1", "text").description == "text"

    def test_wrong_key_is_refused(self, yard: Client) -> None:
        with pytest.raises(InvalidRequest, match="add_tags"):
            yard.models.add_tags("digits:1", {"a=b": "c"})


class TestDelete:
    def test_delete(self, yard: Client, project: Path) -> None:
        yard.models.register("digits", project / "model.pkl")
        yard.models.delete("digits:1")
        with pytest.raises(NotFound):
            yard.models.get("digits:1")

    def test_in_use(self, yard: Client, server: FakeServer, project: Path) -> None:
        yard.models.register("digits", project / "model.pkl")
        server.used_models = {"digits:1"}
        with pytest.raises(InUse) as caught:
            yard.models.delete("digits:1")
        assert caught.value.details["users"] == ["image digits:1"]
