from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from modelyard.client.files import code_files, collect, from_stream
from modelyard.errors import InvalidRequest


def places(path: Path) -> list[str]:
    return [file.place for file in collect(path)]


class TestCollect:
    def test_file_has_its_name(self, tmp_path: Path) -> None:
        (tmp_path / "model.pkl").write_bytes(b"1234")
        (file,) = collect(tmp_path / "model.pkl")
        assert (file.place, file.size) == ("model.pkl", 4)

    def test_folder_keeps_paths(self, tmp_path: Path) -> None:
        (tmp_path / "a" / "b").mkdir(parents=True)
        (tmp_path / "a" / "b" / "deep.bin").touch()
        (tmp_path / "MLmodel").touch()
        assert places(tmp_path) == ["MLmodel", "a/b/deep.bin"]

    def test_missing_path_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidRequest, match=r"nothing\.pkl"):
            collect(tmp_path / "nothing.pkl")

    def test_empty_folder_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        with pytest.raises(InvalidRequest, match="has no files"):
            collect(tmp_path)

    def test_link_inside_the_folder_is_followed(self, tmp_path: Path) -> None:
        (tmp_path / "blob").write_bytes(b"weights")
        (tmp_path / "weights.bin").symlink_to("blob")
        assert {file.place: file.size for file in collect(tmp_path)} == {
            "blob": 7,
            "weights.bin": 7,
        }

    @pytest.mark.parametrize("target", ["../outside", "missing", ".", "folder"])
    def test_other_links_are_refused(self, tmp_path: Path, target: str) -> None:
        (tmp_path / "outside").write_bytes(b"secret")
        (tmp_path / "model" / "folder").mkdir(parents=True)
        (tmp_path / "model" / "link").symlink_to(target)
        with pytest.raises(InvalidRequest, match=r"link` is a link that leads out"):
            collect(tmp_path / "model")

    def test_pipe_is_refused(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(InvalidRequest, match="not a regular file"):
            collect(tmp_path)

    @pytest.mark.parametrize("name", ["bad\nname", "back\\slash", b"\xff.bin"])
    def test_names_that_cannot_be_stored_are_refused(
        self, tmp_path: Path, name: str | bytes
    ) -> None:
        Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), os.fsencode(name)))).touch()
        with pytest.raises(InvalidRequest, match="cannot be stored"):
            collect(tmp_path)


class TestStream:
    def test_takes_the_given_name(self) -> None:
        file = from_stream(io.BytesIO(b"x"), "model.pkl")
        assert (file.place, file.size) == ("model.pkl", None)

    def test_takes_its_own_name(self, tmp_path: Path) -> None:
        (tmp_path / "m.onnx").touch()
        with (tmp_path / "m.onnx").open("rb") as stream:
            assert from_stream(stream, None).place == "m.onnx"

    def test_without_a_name_is_refused(self) -> None:
        with pytest.raises(InvalidRequest, match="no file name"):
            from_stream(io.BytesIO(), None)

    def test_name_cannot_climb(self) -> None:
        with pytest.raises(InvalidRequest, match="cannot be stored"):
            from_stream(io.BytesIO(), "../model.pkl")


class TestCode:
    def test_paths_are_relative_to_the_script(self, tmp_path: Path) -> None:
        for name in (
            "src/score.py",
            "src/lib/a.py",
            "src/lib/__pycache__/a.pyc",
            "data/labels.json",
        ):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        script, files = code_files(
            tmp_path / "src" / "score.py", [tmp_path / "src" / "lib", tmp_path / "data"]
        )
        assert script == "score.py"
        assert sorted(file.place for file in files) == ["data/labels.json", "lib/a.py", "score.py"]

    def test_relative_paths_mean_the_current_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "score.py").touch()
        (tmp_path / "util.py").touch()
        monkeypatch.chdir(tmp_path)
        _, files = code_files("score.py", ["util.py", "score.py"])
        assert sorted(file.place for file in files) == ["score.py", "util.py"]

    def test_two_files_in_one_place_are_refused(self, tmp_path: Path) -> None:
        for folder in ("a", "b"):
            (tmp_path / folder).mkdir()
            (tmp_path / folder / "util.py").touch()
        (tmp_path / "c").mkdir()
        (tmp_path / "c" / "score.py").touch()
        with pytest.raises(InvalidRequest, match=r"both become `util\.py`"):
            code_files(
                tmp_path / "c" / "score.py", [tmp_path / "a/util.py", tmp_path / "b/util.py"]
            )

    def test_missing_further_file_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "score.py").touch()
        with pytest.raises(InvalidRequest, match=r"gone\.py"):
            code_files(tmp_path / "score.py", [tmp_path / "gone.py"])

    def test_script_is_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "src").mkdir()
        (tmp_path / "src" / "score.py").touch()
        with pytest.raises(InvalidRequest, match="is a folder"):
            code_files(tmp_path / "src", [])

    def test_without_a_script_each_keeps_its_own_name(self, tmp_path: Path) -> None:
        (tmp_path / "lib" / "inner").mkdir(parents=True)
        (tmp_path / "lib" / "inner" / "a.py").touch()
        (tmp_path / "far.py").touch()
        script, files = code_files(None, [tmp_path / "lib", tmp_path / "far.py"])
        assert script is None
        assert sorted(file.place for file in files) == ["far.py", "lib/inner/a.py"]
        assert code_files(None, []) == (None, [])
