"""Reading requirements out of the files in which people keep them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.domain.requirements import parse_lines, read_requirements
from modelyard.errors import InvalidRequest


class TestParseLines:
    def test_keeps_requirements_as_they_were_written(self) -> None:
        lines = ["scikit-learn >= 1.7", "uvicorn[standard]==0.30", "x; python_version < '3.12'"]
        assert parse_lines(lines) == tuple(lines)

    def test_leaves_out_comments_and_empty_lines(self) -> None:
        assert parse_lines(["# head", "", "  numpy  # arrays", "\t"]) == ("numpy",)

    @pytest.mark.parametrize(
        ("line", "word", "hint"),
        [
            ("-r base.txt", "`-r`", "put the lines of that file into this one"),
            ("-rbase.txt", "`-r`", "put the lines of that file into this one"),
            ("--requirement=base.txt", "`--requirement`", "put the lines of that file"),
            ("-c limits.txt", "`-c`", "into the requirement lines"),
            ("-e .", "`-e`", "add the folder"),
            ("--index-url https://u:secret@index.invalid/simple", "`--index-url`", "on the server"),
            ("-i https://index.invalid", "`-i`", "on the server"),
            ("--find-links wheels", "`--find-links`", "MODELYARD_WHEELS"),
            ("numpy --hash=sha256:00", "`--hash`", "leave hashes out"),
            ("--pre", "`--pre`", "leave it out"),
            ("https://index.invalid/numpy.whl", "is an address", "released version"),
            ("git+ssh://host.invalid/repo", "is an address", "released version"),
            ("numpy @ https://host.invalid/numpy.whl", "is an address", "released version"),
            ("./local", "is a path", "add the package's folder"),
            ("../local", "is a path", "add the package's folder"),
            ("/srv/local", "is a path", "add the package's folder"),
            ("dist/thing-1.0-py3-none-any.whl", "is a path", "its wheel on the index"),
            ("numpy==", "is not a requirement", "such as"),
            ("num py", "is not a requirement", "such as"),
            ("numpy\x00", "is not a requirement", "such as"),
        ],
    )
    def test_refuses_what_cannot_be_locked(self, line: str, word: str, hint: str) -> None:
        with pytest.raises(InvalidRequest) as caught:
            parse_lines(["scipy", line])
        assert caught.value.message.startswith("line 2: ")
        assert word in caught.value.message
        assert hint in caught.value.hint

    def test_shows_no_credentials(self) -> None:
        for line in (
            "--index-url https://u:secret@index.invalid",
            "git+https://u:secret@host.invalid/r",
            "x @ https://u:secret@host.invalid/r.whl",
        ):
            with pytest.raises(InvalidRequest) as caught:
                parse_lines([line])
            assert "secret" not in f"{caught.value.message} {caught.value.hint}"

    @given(st.text(max_size=200))
    def test_any_text_is_accepted_or_refused_in_one_way(self, text: str) -> None:
        try:
            lines = parse_lines([text])
        except InvalidRequest:
            return
        assert parse_lines(lines) == lines


class TestRequirementsTxt:
    def test_joins_continued_lines(self) -> None:
        text = "numpy \\\n  >=2\nscipy\n"
        assert read_requirements("requirements.txt", text) == ("numpy    >=2", "scipy")

    def test_names_the_line_where_an_entry_begins(self) -> None:
        with pytest.raises(InvalidRequest, match=r"`needs\.txt` line 2: "):
            read_requirements("needs.txt", "numpy\nscipy \\\n  --hash=sha256:00 \\\n")

    def test_takes_windows_line_ends_and_a_byte_order_mark(self) -> None:
        text = "\ufeffnumpy\r\nscipy\r\n"
        assert read_requirements("requirements.txt", text) == ("numpy", "scipy")

    def test_an_empty_file_needs_nothing(self) -> None:
        assert read_requirements("requirements.txt", "") == ()


class TestConda:
    def test_takes_the_pip_part(self) -> None:
        text = """
name: project
channels: [conda-forge]
dependencies:
  - python=3.11
  - conda-forge::pip
  - pip:
    - scikit-learn==1.7.2
    - joblib  # saves models
"""
        assert read_requirements("conda.yml", text) == ("scikit-learn==1.7.2", "joblib")

    def test_refuses_conda_packages_with_the_list(self) -> None:
        text = "dependencies: [python=3.11, numpy=2.0, conda-forge::scipy>=1, {pip: [joblib]}]"
        with pytest.raises(InvalidRequest) as caught:
            read_requirements("conda.yaml", text)
        assert caught.value.details["packages"] == ["numpy=2.0", "conda-forge::scipy>=1"]
        assert "below `pip:`" in caught.value.hint

    @pytest.mark.parametrize(
        "text",
        ["", "[1, 2]", "name: x", "dependencies: numpy", "a: [", "[" * 3000],
        ids=["empty", "list", "no dependencies", "text", "broken", "deep"],
    )
    def test_refuses_what_is_no_conda_file(self, text: str) -> None:
        with pytest.raises(InvalidRequest, match=r"conda\.yml"):
            read_requirements("conda.yml", text)

    @pytest.mark.parametrize("entry", ["{pip: joblib}", "{npm: [x]}", "{pip: [x], npm: [y]}"])
    def test_refuses_other_installers(self, entry: str) -> None:
        with pytest.raises(InvalidRequest, match="neither a package nor a list"):
            read_requirements("conda.yml", f"dependencies: [{entry}]")

    def test_names_the_entry(self) -> None:
        with pytest.raises(InvalidRequest, match="pip entry 2: the option `-r`"):
            read_requirements("conda.yml", "dependencies: [{pip: [joblib, -r other.txt]}]")

    def test_runs_no_code(self) -> None:
        text = "dependencies: !!python/object/apply:os.system [echo]"
        with pytest.raises(InvalidRequest, match="is not YAML"):
            read_requirements("conda.yml", text)


class TestPyproject:
    def test_takes_the_dependencies_of_the_project(self) -> None:
        text = '[project]\nname = "p"\ndependencies = ["numpy>=2", "scipy"]\n'
        assert read_requirements("pyproject.toml", text) == ("numpy>=2", "scipy")

    def test_a_project_without_dependencies_needs_nothing(self) -> None:
        assert read_requirements("pyproject.toml", '[project]\nname = "p"\n') == ()

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("[project", "is not TOML"),
            ("[tool.poetry.dependencies]\nnumpy = '2'", "no `\\[project\\]` table"),
            ('[project]\ndynamic = ["dependencies"]', "when it is built"),
            ('[project]\ndependencies = "numpy"', "is not a list"),
            ('[project]\ndependencies = ["numpy", "./here"]', "dependency 2: .* is a path"),
        ],
    )
    def test_refuses_what_has_no_lines(self, text: str, problem: str) -> None:
        with pytest.raises(InvalidRequest, match=problem):
            read_requirements("pyproject.toml", text)

    def test_other_toml_files_are_refused(self) -> None:
        with pytest.raises(InvalidRequest, match="is not a requirements file"):
            read_requirements("Pipfile.toml", "")
