"""What images stand on: the host's Python, a layout from elsewhere, or nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tests.layouts import Layout, python_files, tar

import modelyard
from modelyard.images.launch import current_platform

SCRIPT = "def run(data):\n    return data\n"
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
HERE = current_platform()
ELSEWHERE = "arm64" if HERE.architecture == "amd64" else "amd64"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="bases are for Linux")


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("script") / "score.py"
    path.write_text(SCRIPT)
    return path


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    made = Layout(tmp_path_factory.mktemp("layout") / "base")
    made.add([tar(python_files(VERSION, HERE.architecture))], HERE.architecture)
    made.add([tar(python_files(VERSION, ELSEWHERE))], ELSEWHERE)
    return made


def test_the_hosts_python_is_the_default_and_ties_the_image_to_it(
    yard: modelyard.Client, script: Path
) -> None:
    image = yard.images.build("standing", models=[], script=script)
    assert image.manifest is not None
    assert image.manifest.base is not None
    assert image.manifest.base.origin == "host"
    assert (image.base, image.marks) == ("host", ("host-bound",))
    again = yard.images.build("standing", models=[], script=script, base="host")
    assert again.reference == image.reference


def test_without_a_base_it_is_another_image(yard: modelyard.Client, script: Path) -> None:
    standing = yard.images.build("standing", models=[], script=script)
    floating = yard.images.build("standing", models=[], script=script, base="none")
    assert floating.manifest is not None
    assert (floating.manifest.base, floating.marks) == (None, ())
    assert floating.digest != standing.digest


def test_where_a_base_lay_does_not_show(
    yard: modelyard.Client, script: Path, layout: Layout, tmp_path: Path
) -> None:
    one = yard.images.build("based", models=[], script=script, base=layout.folder)
    archive = layout.as_tar(tmp_path / "base.tar")
    other = yard.images.build("based", models=[], script=script, base=archive)
    assert one.manifest is not None
    assert one.manifest.base is not None
    assert one.manifest.base.origin == "image"
    assert one.marks == ()
    assert one.check is not None  # the host's own Python is of the same version
    assert other.digest == one.digest


def test_for_another_platform_a_package_without_a_wheel_is_named(
    yard: modelyard.Client, script: Path, layout: Layout
) -> None:
    with pytest.raises(modelyard.BuildFailed, match="has no wheel") as caught:
        yard.images.build(
            "far", models=[], script=script, base=layout.folder, platform=f"linux/{ELSEWHERE}"
        )
    assert caught.value.details["cause"]["code"] == "no_wheel"


def test_the_hosts_python_is_for_no_other_platform(yard: modelyard.Client, script: Path) -> None:
    with pytest.raises(modelyard.InvalidRequest, match="cannot stand on this host's Python"):
        yard.images.build("far", models=[], script=script, platform=f"linux/{ELSEWHERE}")


def test_a_base_that_is_none_is_refused_at_once(
    yard: modelyard.Client, script: Path, tmp_path: Path
) -> None:
    with pytest.raises(modelyard.BuildFailed) as caught:
        yard.images.build("wrong", models=[], script=script, base=tmp_path)
    assert caught.value.details["cause"]["code"] == "base_unsuitable"
    with pytest.raises(modelyard.NotFound):
        yard.images.get("wrong")
