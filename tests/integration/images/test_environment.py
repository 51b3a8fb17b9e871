"""Locking requirements and laying environments out, with wheels from a folder."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.integration.images.making import (
    small_wheelhouse,
    write_sdist,
    write_source,
    write_wheel,
)

from modelyard.blobs.local import LocalBlobs
from modelyard.domain.cause import Cause, CauseCode
from modelyard.domain.image import Layer, Package
from modelyard.errors import BuildFailed
from modelyard.images.environment import Environments, Lock
from modelyard.images.launch import ENVIRONMENT_ROOT, base_python, current_interpreter
from modelyard.images.layers import LayerCache, files_below
from modelyard.settings import Settings

HERE = current_interpreter()


class Place:
    """One home folder with its stores."""

    def __init__(self, home: Path, wheels: Path | None) -> None:
        self.blobs = LocalBlobs(home / "blobs")
        self.layers = LayerCache(home / "layers")
        self.lines: list[str] = []
        self.environments = Environments(
            self.blobs, self.layers, Settings(home=home, wheels=wheels)
        )

    def lay_out(self, lock: Lock) -> tuple[Layer, Path]:
        _, layer = self.environments.layer(lock, self.lines.append)
        folder = self.layers.path(layer.digest)
        assert folder is not None
        return layer, folder / ENVIRONMENT_ROOT


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = small_wheelhouse(tmp_path_factory.mktemp("wheels") / "house")
    write_wheel(
        folder,
        "tool",
        files={
            "tool/__init__.py": "VALUE = {'a', 'b'}\n",
            "tool/__pycache__/old.cpython-39.pyc": "stale",
            "tool/broken.py": "print 'for another Python'\n",
            "tool/data.txt": "data\n",
            "tool/tests/test_tool.py": "import tool\n",
        },
        scripts="tool = tool:main",
    )
    write_wheel(folder, "needs_tool", needs=["tool>=1"])
    write_wheel(folder, "wants_old_tool", needs=["tool<1"])
    write_wheel(folder, "wants_missing", needs=["nosuch"])
    write_wheel(folder, "old_python", tag="cp39-cp39-manylinux_2_17_x86_64")
    write_wheel(folder, "other_system", tag="cp311-cp311-win_amd64")
    write_wheel(folder, "twins", files={"twins/a.py": "", "twins/A.py": ""})
    write_sdist(folder, "only_source")
    return folder


@pytest.fixture
def place(tmp_path: Path, wheels: Path) -> Place:
    return Place(tmp_path / "home", wheels)


@pytest.fixture
def strict_umask() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


def cause_of(caught: pytest.ExceptionInfo[BuildFailed]) -> Cause:
    return Cause.model_validate(caught.value.details["cause"])


class TestLock:
    def test_the_runtime_is_locked_with_the_users_requirements(self, place: Place) -> None:
        lock = place.environments.lock(["needs_tool"], HERE)
        assert [package.name for package in lock.packages] == [
            "httptools",
            "msgspec",
            "needs-tool",
            "orjson",
            "tool",
            "uvloop",
        ]
        assert Package(name="tool", version="1.0") in lock.packages
        assert lock.text.count("--hash=sha256:") == 6
        assert lock == Lock(lock.text, HERE)

    def test_the_same_requirements_give_the_same_lock(
        self, place: Place, tmp_path: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lock = place.environments.lock(["tool", "needs_tool"], HERE)
        monkeypatch.setenv("UV_PRERELEASE", "allow")
        monkeypatch.setenv("UV_EXCLUDE_NEWER", "2001-01-01T00:00:00Z")
        monkeypatch.chdir(tmp_path)
        (tmp_path / "uv.toml").write_text("this is not a configuration")
        again = Place(tmp_path / "elsewhere", wheels).environments.lock(
            ["needs_tool", "tool"], HERE
        )
        assert again.digest == lock.digest

    @pytest.mark.parametrize(
        ("requirements", "code", "name"),
        [
            (["nosuch"], CauseCode.UNKNOWN_REQUIREMENT, "`nosuch`"),
            (["wants_missing"], CauseCode.UNKNOWN_REQUIREMENT, "`nosuch`"),
            (["tool==99"], CauseCode.UNKNOWN_REQUIREMENT, "`tool`"),
            (["tool>1"], CauseCode.UNKNOWN_REQUIREMENT, "`tool`"),
            (["only_source"], CauseCode.NO_WHEEL, "`only-source`"),
            (["old_python"], CauseCode.NO_WHEEL, "`old-python`"),
            (["other_system"], CauseCode.NO_WHEEL, "`other-system`"),
            (["tool>=1", "wants_old_tool"], CauseCode.REQUIREMENTS_CLASH, "contradict"),
            (["tool>=1", "tool<1"], CauseCode.REQUIREMENTS_CLASH, "contradict"),
            (["tool", "-r other.txt"], CauseCode.INVALID_REQUIREMENT, "`-r`"),
            (["tool; ("], CauseCode.INVALID_REQUIREMENT, "line 1"),
        ],
    )
    def test_each_failure_has_its_own_cause(
        self, place: Place, requirements: list[str], code: CauseCode, name: str
    ) -> None:
        with pytest.raises(BuildFailed) as caught:
            place.environments.lock(requirements, HERE)
        cause = cause_of(caught)
        assert cause.code is code
        assert name in cause.message
        assert cause.fix == caught.value.hint != ""

    def test_a_clash_with_the_runtime_says_what_it_needs(self, place: Place) -> None:
        with pytest.raises(BuildFailed) as caught:
            place.environments.lock(["orjson<3"], HERE)
        assert "The runtime itself needs orjson" in cause_of(caught).fix

    def test_an_index_that_does_not_answer_is_named(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("UV_DEFAULT_INDEX", "http://user:secret@127.0.0.1:9/simple")
        monkeypatch.setenv("UV_HTTP_RETRIES", "0")
        with pytest.raises(BuildFailed) as caught:
            Place(tmp_path / "home", None).environments.lock([], HERE)
        cause = cause_of(caught)
        assert (cause.code, cause.message) == (
            CauseCode.INSTALL_FAILED,
            "The package index did not answer.",
        )
        assert "secret" not in cause.model_dump_json()


class TestLayer:
    def test_the_same_lock_gives_the_same_bytes_elsewhere(
        self,
        place: Place,
        tmp_path: Path,
        wheels: Path,
        strict_umask: None,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        lock = place.environments.lock(["needs_tool"], HERE)
        os.umask(0o022)
        layer, _ = place.lay_out(lock)
        os.umask(0o077)
        monkeypatch.setenv("PYTHONHASHSEED", "7")
        other_wheels = tmp_path / "a copy of the wheels"
        other_wheels.symlink_to(wheels)
        other = Place(tmp_path / "another" / "deeper" / "home", other_wheels)
        again, _ = other.lay_out(lock)
        assert again == layer

    def test_nothing_of_the_machine_is_inside(self, place: Place, tmp_path: Path) -> None:
        _, root = place.lay_out(place.environments.lock(["tool"], HERE))
        paths = {file.path for file in files_below(root)}
        assert not {path for path in paths if path.startswith("bin/")}
        assert not {path for path in paths if path.endswith((".lock", "uv_cache.json"))}
        record = (root / "tool-1.0.dist-info/RECORD").read_text()
        assert "bin/tool" not in record
        assert "uv_cache" not in record
        assert "tool/data.txt" in record
        inside = b"".join(b"".join(file.read()) for file in files_below(root))
        assert str(tmp_path).encode() not in inside
        assert str(base_python()[0]).encode() not in inside

    def test_modules_are_compiled_and_say_where_they_stand(self, place: Place) -> None:
        _, root = place.lay_out(place.environments.lock(["tool"], HERE))
        tag = f"cpython-{base_python()[1].replace('.', '')}"
        assert [path.name for path in (root / "tool/__pycache__").iterdir()] == [
            f"__init__.{tag}.pyc"
        ]
        assert not (root / "tool/tests/__pycache__").exists()
        compiled = (root / f"tool/__pycache__/__init__.{tag}.pyc").read_bytes()
        assert compiled[4:8] == b"\1\0\0\0", "checked by nobody: hash-based and unchecked"
        assert f"/{ENVIRONMENT_ROOT}/tool/__init__.py".encode() in compiled

    def test_it_can_be_imported_without_writing(self, place: Place) -> None:
        _, root = place.lay_out(place.environments.lock(["tool"], HERE))
        done = subprocess.run(
            [base_python()[0], "-s", "-S", "-c", "import tool, orjson; print(tool.__file__)"],
            env={"PYTHONPATH": str(root)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == str(root / "tool/__init__.py")

    def test_files_are_read_only_copies(self, place: Place) -> None:
        _, root = place.lay_out(place.environments.lock(["tool"], HERE))
        for file in files_below(root):
            status = (root / file.path).stat()
            assert status.st_mode & 0o222 == 0
            assert status.st_nlink == 1

    def test_a_wheel_that_was_changed_is_refused(
        self, place: Place, tmp_path: Path, wheels: Path
    ) -> None:
        lock = place.environments.lock(["tool"], HERE)
        forged = small_wheelhouse(tmp_path / "forged")
        write_wheel(forged, "tool", files={"tool/__init__.py": "import os\n"})
        with pytest.raises(BuildFailed) as caught:
            Place(tmp_path / "victim", forged).environments.layer(lock, print)
        assert cause_of(caught).code is CauseCode.INSTALL_FAILED
        assert any("hash" in line.lower() for line in cause_of(caught).evidence)

    def test_what_an_image_cannot_carry_is_named(self, place: Place) -> None:
        with pytest.raises(BuildFailed) as caught:
            place.environments.layer(place.environments.lock(["twins"], HERE), print)
        assert cause_of(caught).code is CauseCode.INSTALL_FAILED
        assert "twins" in cause_of(caught).evidence[0]


class TestSources:
    @pytest.fixture
    def wheels(self, tmp_path: Path) -> Path:
        folder = small_wheelhouse(tmp_path / "sources")
        write_source(folder, "only_source", needs=["also_source"])
        write_source(folder, "also_source")
        write_wheel(folder, "tool")
        return folder

    def test_they_are_built_when_that_is_allowed(self, tmp_path: Path, wheels: Path) -> None:
        place = Place(tmp_path / "home", wheels)
        lock = place.environments.lock(["only_source", "tool"], HERE, allow_sources=True)
        assert lock.sources == ("also-source", "only-source")
        built = {package.name for package in lock.packages if package.from_source}
        assert built == {"also-source", "only-source"}
        _, root = place.lay_out(lock)
        assert "BUILT = True" in (root / "only_source.py").read_text()
        assert Lock(lock.text, HERE) == lock  # what is remembered is the text

    def test_they_are_not_built_otherwise(self, tmp_path: Path, wheels: Path) -> None:
        place = Place(tmp_path / "home", wheels)
        with pytest.raises(BuildFailed, match="`only-source` has no wheel") as caught:
            place.environments.lock(["only_source"], HERE)
        assert "--allow-sources" in caught.value.hint

    def test_they_are_built_for_this_host_only(self, tmp_path: Path, wheels: Path) -> None:
        place = Place(tmp_path / "home", wheels)
        other = HERE._replace(python="3.13")
        with pytest.raises(BuildFailed, match="has no wheel"):
            place.environments.lock(["only_source"], other, allow_sources=True)

    def test_what_has_wheels_is_not_built(self, tmp_path: Path, wheels: Path) -> None:
        place = Place(tmp_path / "home", wheels)
        lock = place.environments.lock(["tool"], HERE, allow_sources=True)
        assert lock == place.environments.lock(["tool"], HERE)


class TestSlim:
    def test_what_nothing_needs_is_left_out_and_counted(self, place: Place) -> None:
        lock = place.environments.lock(["tool"], HERE)
        full, root = place.lay_out(lock)
        assert (root / "tool" / "tests" / "test_tool.py").exists()
        slim, layer = place.environments.layer(replace(lock, slim=True), place.lines.append)
        folder = place.layers.path(layer.digest)
        assert folder is not None
        tool = folder / ENVIRONMENT_ROOT / "tool"
        assert (tool / "data.txt").exists()
        assert not (tool / "tests").exists()
        assert layer.size < full.size
        saved = {package.name: package.saved for package in slim.packages}
        assert saved["tool"] == len("import tool\n")
        assert "tests" not in next(folder.rglob("tool-1.0.dist-info/RECORD")).read_text()
        assert any("slim: left out" in line for line in place.lines)
