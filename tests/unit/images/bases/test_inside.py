"""Finding the Python in the layers of a base."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from tests.layouts import program, python_files, tar

from modelyard.errors import IntegrityError
from modelyard.images.bases.inside import Contents, Found, wanted_head
from modelyard.images.bases.walk import walk


def look(*layers: Mapping[str, bytes | str | None], path: str = "") -> Found:
    contents = Contents()
    for layer in layers:
        contents.lay(walk([tar(layer)], 1000, wanted_head))
    return contents.python(path)


def test_the_usual_images_have_it_behind_a_link() -> None:
    found = look(python_files("3.12", "arm64"))
    assert found == Found("/usr/local/bin/python3.12", "3.12", "arm64")


def test_the_first_on_the_path_is_taken() -> None:
    both = python_files("3.12") | {"usr/bin/python3.9": program(), "usr/bin/python3": "python3.9"}
    assert look(both).version == "3.12"
    assert look(both, path="/usr/bin:/usr/local/bin").version == "3.9"


def test_links_are_followed_through_folders() -> None:
    layer = {
        "bin": "usr/bin",
        "usr/bin/python3": "/etc/alternatives/python3",
        "etc/alternatives/python3": "../../opt/py/bin/python3.11",
        "opt/py": "/srv/python",
        "srv/python/bin/python3.11": program(),
    }
    assert look(layer, path="/bin").path == "/srv/python/bin/python3.11"


def test_without_a_version_in_its_name_the_library_tells() -> None:
    layer = {"opt/bin/python3": program(), "opt/lib/python3.13/os.py": b""}
    assert look(layer, path="/opt/bin").version == "3.13"
    with pytest.raises(IntegrityError, match="no Python 3"):
        look(layer | {"opt/lib/python3.12/os.py": b""}, path="/opt/bin")


def test_later_layers_replace_and_remove() -> None:
    base = python_files("3.11")
    newer = {"usr/local/bin/python3": "python3.12", "usr/local/bin/python3.12": program()}
    assert look(base, newer).version == "3.12"
    with pytest.raises(IntegrityError, match="no Python 3"):
        look(base, {"usr/local/bin/.wh.python3.11": b""})
    with pytest.raises(IntegrityError, match="no Python 3"):
        look(base, {"usr/local/.wh.bin": b""})
    with pytest.raises(IntegrityError, match="no Python 3"):
        look(base, {"usr/local/.wh..wh..opq": b""})
    assert look(base, {"usr/local/bin/.wh.python3.11": b""}, newer).version == "3.12"


@pytest.mark.parametrize(
    ("layer", "why"),
    [
        ({}, "no Python 3"),
        ({"usr/bin/python3": "python3"}, "no Python 3"),
        ({"usr/bin/python3": "../../usr/bin/python"}, "no Python 3"),
        ({"usr/bin/python2.7": program()}, "no Python 3"),
        ({"usr/bin/../bin/python3.11": program()}, "no Python 3"),
        ({"usr/bin/python3.11": b"#!/bin/sh\n"}, "not a program"),
        (
            {"usr/bin/python3.11": program(), "lib/ld-musl-x86_64.so.1": b""},
            "musl",
        ),
    ],
)
def test_what_cannot_be_used_is_refused(layer: dict[str, bytes | str | None], why: str) -> None:
    with pytest.raises(IntegrityError, match=why):
        look(layer)


def test_layers_that_only_remove_have_an_end() -> None:
    contents = Contents()
    chunk = tar({f"d/.wh.{number}": b"" for number in range(10_001)})
    with pytest.raises(IntegrityError, match="remove more than"):
        contents.lay(walk([chunk], 20_000, wanted_head))
