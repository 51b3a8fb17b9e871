"""What an environment can do without, and what it cannot."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from modelyard.images.slimming import superfluous


def left_out(root: Path, files: Mapping[str, str]) -> list[str]:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return sorted(path.relative_to(root).as_posix() for path in superfluous(root))


def empty(names: Iterable[str]) -> dict[str, str]:
    return dict.fromkeys(names, "")


def test_tests_headers_stubs_and_documents_go(tmp_path: Path) -> None:
    gone = [
        "pkg/core.pyi",
        "pkg/docs/index.rst",
        "pkg/include/core.h",
        "pkg/libcore.a",
        "pkg/sub/tests/data/big.npz",
        "pkg/sub/tests/test_sub.py",
        "pkg/tests/__init__.py",
        "pkg/tests/test_core.py",
        "share/man/man1/pkg.1",
    ]
    kept = ["pkg/__init__.py", "pkg/core.py", "pkg/core.so", "pkg/py.typed", "pkg/data.csv"]
    assert left_out(tmp_path, empty([*gone, *kept])) == gone


def test_what_is_only_called_so_stays(tmp_path: Path) -> None:
    kept = [
        "pkg/test/__init__.py",  # no test in it: utilities for those who test
        "pkg/docs/__init__.py",  # a package
        "pkg/doc/schema.json",
        "tests/__init__.py",  # a distribution of that name
        "tests/test_it.py",
        "pkg-1.0.dist-info/docs/LICENSE",
        "pkg-1.0.dist-info/RECORD",
        "pkg/testing.py",
    ]
    assert left_out(tmp_path, empty(kept)) == []


@pytest.mark.parametrize(
    "line",
    [
        "from .tests import helper",
        "from .tests.helper import thing",
        "from . import tests",
        "from pkg.tests.helper import thing",
        "from pkg import core, tests",
        "import pkg.tests.helper as helper",
        "import os, pkg.tests",
        "def f():\n    from pkg.tests import helper",
    ],
)
def test_tests_that_a_source_imports_stay(tmp_path: Path, line: str) -> None:
    files = empty(
        ["pkg/tests/__init__.py", "pkg/tests/test_a.py", "pkg/tests/deep/tests/test_b.py"]
    )
    other = empty(["pkg/other/tests/test_c.py"])
    assert left_out(tmp_path, files | other | {"pkg/core.py": f"{line}\n"}) == [
        "pkg/other/tests/test_c.py"
    ]


def test_what_only_tests_import_goes(tmp_path: Path) -> None:
    files = {
        "pkg/__init__.py": "# from .tests import nothing\n'''tests'''\n",
        "pkg/tests/__init__.py": "",
        "pkg/tests/test_a.py": "from pkg.tests import b\n",
    }
    assert left_out(tmp_path, files) == ["pkg/tests/__init__.py", "pkg/tests/test_a.py"]


def test_a_relative_import_reaches_as_far_as_its_dots(tmp_path: Path) -> None:
    files = empty(["pkg/tests/test_a.py", "pkg/sub/tests/test_b.py"])
    text = {"pkg/sub/core.py": "from ..tests import x\n"}
    assert left_out(tmp_path, files | text) == ["pkg/sub/tests/test_b.py"]


def test_stubs_that_are_read_when_a_package_is_imported_stay(tmp_path: Path) -> None:
    files = {
        "lazy/__init__.py": "import lazy_loader\nx = lazy_loader.attach_stub(__name__, __file__)\n",
        "lazy/__init__.pyi": "from .a import b\n",
        "lazy/other.pyi": "",
    }
    assert left_out(tmp_path, files) == ["lazy/other.pyi"]
