"""What is found wrong with a build before anything is built."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.blobs.local import LocalBlobs
from modelyard.errors import InvalidRequest, InvalidScript, NotFound
from modelyard.images.preflight import check_inputs
from modelyard.schemas import BuildImage, FileReference

GOOD = b"def run(data):\n    return data\n"


@pytest.fixture
def blobs(tmp_path: Path) -> LocalBlobs:
    return LocalBlobs(tmp_path)


def check(blobs: LocalBlobs, script: str = "score.py", **files: bytes | str) -> None:
    check_paths(blobs, script, [(f"{name}.py", content) for name, content in files.items()])


def check_paths(blobs: LocalBlobs, script: str, files: list[tuple[str, bytes | str]]) -> None:
    references = []
    for path, content in files:
        with blobs.writer() as writer:
            writer.write(content.encode() if isinstance(content, str) else content)
            references.append(FileReference(path=path, digest=writer.commit().digest))
    check_inputs(BuildImage(name="i", models=(), script=script, files=tuple(references)), blobs)


@pytest.mark.parametrize(
    "source",
    [
        "def run(data): ...",
        "async def run(data): ...",
        "run = print",
        "run: object = print",
        "a, (run, b) = 1, (2, 3)",
        "from other import run",
        "from other import score as run",
        "import other as run",
        "from other import *",
        "if True:\n    def run(data): ...",
        "try:\n    pass\nexcept ImportError:\n    pass\nelse:\n    run = 1",
        "try:\n    pass\nexcept ImportError:\n    run = 1",
        "with open('x') as f:\n    run = 1",
        "match 1:\n    case 1:\n        run = 1",
        "\ufeffdef run(data): ...",
        "#" + "é" * 10 + "\nrun = 1",
    ],
)
def test_a_script_that_defines_run_is_accepted(blobs: LocalBlobs, source: str) -> None:
    check(blobs, score=source)


@pytest.mark.parametrize(
    "source",
    [
        "",
        "def init(): ...",
        "def score(data): ...",
        "class A:\n    def run(self, data): ...",
        "def init():\n    def run(data): ...",
        "def init():\n    run = 1",
        "import run.inner",
        "from run import other",
        "x.run = 1",
        "print(run)",
        "if x:\n    pass\n" + "elif x:\n    pass\n" * 500,
    ],
)
def test_a_script_without_run_is_refused(blobs: LocalBlobs, source: str) -> None:
    with pytest.raises(InvalidScript, match=r"`score\.py` defines no `run`") as caught:
        check(blobs, score=source)
    assert "def run(data)" in caught.value.hint


def test_a_syntax_error_is_shown_with_its_place_and_its_line(blobs: LocalBlobs) -> None:
    with pytest.raises(InvalidScript) as caught:
        check(blobs, score="import os\n\ndef run(data)\n    return data\n")
    assert "`score.py` has a syntax error at line 3, column 14" in caught.value.message
    assert "`def run(data)`" in caught.value.message
    assert caught.value.details == {
        "file": "score.py",
        "line": 3,
        "column": 14,
        "text": "def run(data)",
    }


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        (b"def run(data): '\xff'", "is not UTF-8 text: .* at byte 16"),
        (b"run = 1\0", "cannot be parsed|syntax error"),
        (b"run = " + b"(" * 5000, "cannot be parsed|syntax error"),
        (b"run = " + b"-" * 50_000 + b"1", "cannot be parsed|syntax error"),
        (b"#" * ((1 << 20) + 1), "has 1048577 bytes"),
    ],
)
def test_what_is_no_python_source_is_refused(
    blobs: LocalBlobs, source: bytes, problem: str
) -> None:
    with pytest.raises(InvalidScript, match=problem):
        check(blobs, score=source)


def test_a_missing_script_is_named_with_the_files_there_are(blobs: LocalBlobs) -> None:
    with pytest.raises(InvalidScript, match=r"`score\.py` is not among the files") as caught:
        check(blobs, **{f"m{n:02}": GOOD for n in range(12)})
    assert "m00.py, m01.py" in caught.value.hint
    assert "and 2 more" in caught.value.hint


def test_the_script_must_be_a_python_file(blobs: LocalBlobs) -> None:
    with pytest.raises(InvalidScript, match=r"not a `\.py` file"):
        check_paths(blobs, "score.txt", [("score.txt", GOOD)])


def test_a_file_that_was_not_uploaded_is_named(blobs: LocalBlobs) -> None:
    missing = FileReference(path="score.py", digest=f"sha256:{'0' * 64}")
    request = BuildImage(name="i", models=(), script="score.py", files=(missing,))
    with pytest.raises(NotFound):
        check_inputs(request, blobs)


@pytest.mark.parametrize(
    ("first", "second", "problem"),
    [
        ("a.txt", "a.txt", "one place"),
        ("a.txt", "A.TXT", "one place"),
        ("\u00e9", "e\u0301", "one place"),
        ("a", "a/b.txt", "to be a folder"),
        ("A", "a/b/c.txt", "to be a folder"),
    ],
)
def test_files_that_cannot_stand_beside_each_other(
    blobs: LocalBlobs, first: str, second: str, problem: str
) -> None:
    for pair in ((first, second), (second, first)):
        files = [("score.py", GOOD), *((path, b"x") for path in pair)]
        with pytest.raises(InvalidRequest, match=problem):
            check_paths(blobs, "score.py", files)


def test_without_a_script_only_paths_are_checked(blobs: LocalBlobs) -> None:
    check_inputs(BuildImage(name="i", models=("iris",)), blobs)
    with blobs.writer() as writer:
        writer.write(b"not Python")
        digest = writer.commit().digest
    files = (FileReference(path="a.py", digest=digest), FileReference(path="A.py", digest=digest))
    check_inputs(BuildImage(name="i", models=("iris",), files=files[:1]), blobs)
    with pytest.raises(InvalidRequest, match="one place"):
        check_inputs(BuildImage(name="i", models=("iris",), files=files), blobs)
