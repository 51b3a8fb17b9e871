"""Scripts that load, and the cause of each way in which one does not."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path

import pytest
from tests.unit.runtime.conftest import Configure, Load

from modelyard_runtime import causes
from modelyard_runtime.causes import Cause, StartFailed
from modelyard_runtime.loading import load
from modelyard_runtime.signature import Table

RUN = "\ndef run(data): return data\n"


def cause_of(load_script: Load, script: str, **files: str) -> Cause:
    with pytest.raises(StartFailed) as failed:
        load_script(script, **files)
    return failed.value.cause


class TestSurroundings:
    def test_working_directory_is_that_of_the_code(self, load_script: Load, tmp_path: Path) -> None:
        load_script("open('data.txt').close()" + RUN, **{"data.txt": "here"})
        assert Path.cwd() == tmp_path / "code"

    def test_files_beside_the_script_can_be_imported(self, load_script: Load) -> None:
        entry = load_script("import beside\nrun = beside.run", **{"beside.py": RUN})
        assert entry.run("x") == "x"

    def test_a_script_in_a_folder_sees_that_and_the_root(
        self, configure: Configure, load_script: Load
    ) -> None:
        files = {"in/near.py": "", "far.py": ""}
        config = configure("import near, far" + RUN, name="in/score.py", **files)
        assert load(config, lambda phase: None).run("x") == "x"

    def test_folder_of_the_host_is_no_longer_searched(self, load_script: Load) -> None:
        load_script(RUN)
        assert "" not in sys.path

    def test_model_dir_is_that_of_the_only_model(self, load_script: Load, tmp_path: Path) -> None:
        load_script(
            "import os\n"
            "def init(): assert os.listdir(os.environ['AZUREML_MODEL_DIR']) == ['weights.txt']"
            + RUN
        )
        assert os.environ["AZUREML_MODEL_DIR"] == str(tmp_path / "models" / "iris" / "3")
        assert os.environ["MODELYARD_MODEL_DIR"] == os.environ["AZUREML_MODEL_DIR"]

    def test_packages_are_told_not_to_report_unless_the_service_wants_it(
        self, load_script: Load, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
        monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "false")
        load_script("import os; assert os.environ['ORT_DISABLE_TELEMETRY'] == '1'" + RUN)
        assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "false"

    def test_phases_are_told_in_order(self, configure: Configure, load_script: Load) -> None:
        phases: list[str] = []
        load(configure(RUN), phases.append)
        assert phases == ["importing", "initialising"]

    def test_a_script_named_like_a_module_replaces_none(
        self, configure: Configure, load_script: Load
    ) -> None:
        import json

        load(configure("import json" + RUN, name="json.py"), lambda phase: None)
        assert sys.modules["json"] is json

    def test_classes_of_the_script_can_be_found_by_name(self, load_script: Load) -> None:
        entry = load_script(
            "import sys\nclass A: pass\ndef run(data): return sys.modules[A.__module__].A is A"
        )
        assert entry.run("") is True


class TestRun:
    def test_init_is_called_once_before(self, load_script: Load) -> None:
        entry = load_script("calls = []\ndef init(): calls.append(1)\ndef run(data): return calls")
        assert entry.run("") == [1]

    def test_init_is_optional(self, load_script: Load) -> None:
        assert load_script(RUN).run("x") == "x"

    @pytest.mark.parametrize(
        ("definition", "data", "headers", "is_async"),
        [
            ("def run(raw): ...", "raw", False, False),
            ("def run(raw, request_headers): ...", "raw", True, False),
            ("def run(request_headers, raw): ...", "raw", True, False),
            ("def run(raw, top=3): ...", "raw", False, False),
            ("def run(raw, **others): ...", "raw", False, False),
            ("async def run(raw): ...", "raw", False, True),
            ("class M:\n def run(self, raw): ...\nrun = M().run", "raw", False, False),
        ],
    )
    def test_parameters(
        self, load_script: Load, definition: str, data: str, headers: bool, is_async: bool
    ) -> None:
        entry = load_script(definition)
        table = Table(None, [])
        assert list(entry.signature.from_table(table, {})) == [data]
        assert (entry.takes_headers, entry.is_async) == (headers, is_async)

    @pytest.mark.parametrize(
        ("script", "says"),
        [
            ("def score(data): ...", "defines no function `run`"),
            ("run = 3", "not a function"),
            ("def run(): ...", "takes no data"),
            ("def run(*data): ...", "takes no data"),
            ("def run(request_headers): ...", "takes no data"),
            ("def run(data, /): ...", "parameter `data` cannot be given by name"),
        ],
    )
    def test_that_cannot_be_called(self, load_script: Load, script: str, says: str) -> None:
        cause = cause_of(load_script, script)
        assert cause.code == causes.NO_RUN_FUNCTION
        assert says in cause.message
        assert "def run(data)" in cause.fix

    def test_is_looked_for_before_init(self, load_script: Load) -> None:
        assert cause_of(load_script, "def init(): 1 / 0").code == causes.NO_RUN_FUNCTION


class TestKinds:
    @pytest.mark.parametrize(
        ("script", "is_async", "streams"),
        [
            ("def run(data): ...", False, False),
            ("def run(data): yield 1", False, True),
            ("async def run(data): ...", True, False),
            ("async def run(data): yield 1", True, True),
            ("class M:\n async def __call__(self, data): yield 1\nrun = M()", True, True),
        ],
    )
    def test_of_run(self, load_script: Load, script: str, is_async: bool, streams: bool) -> None:
        entry = load_script(script)
        assert (entry.is_async, entry.streams, entry.batching) == (is_async, streams, None)

    def test_batchable(self, load_script: Load) -> None:
        entry = load_script(
            "from modelyard_runtime import batchable\n"
            "@batchable(max_rows=5)\n"
            "def run(rows: list): ..."
        )
        assert entry.batching is not None
        assert entry.batching.max_rows == 5

    @pytest.mark.parametrize(
        ("definition", "says"),
        [
            ("def run(rows: list): yield 1", "a `@batchable` run that yields"),
            ("def run(rows: list, request_headers): ...", "that takes `request_headers`"),
            ("def run(data): ...", "annotated neither as a list"),
        ],
    )
    def test_batchable_where_that_cannot_be(
        self, load_script: Load, definition: str, says: str
    ) -> None:
        script = f"from modelyard_runtime import batchable\n@batchable\n{definition}"
        cause = cause_of(load_script, script)
        assert cause.code == causes.NO_RUN_FUNCTION
        assert says in cause.message

    def test_a_parameter_that_no_json_makes(self, load_script: Load) -> None:
        cause = cause_of(load_script, "class Own: ...\ndef run(data: Own): ...")
        assert cause.code == causes.NO_RUN_FUNCTION
        assert "parameter `data` cannot be made from JSON" in cause.message

    def test_a_model_without_a_script(
        self, configure: Configure, load_script: Load, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        loaded = load_script(RUN)
        monkeypatch.setattr("modelyard_runtime.frameworks.load", lambda models, scene: loaded)
        config = dataclasses.replace(configure(), script=None)
        assert load(config, lambda phase: None) is loaded


class TestImport:
    def test_missing_package(self, load_script: Load) -> None:
        cause = cause_of(load_script, "import json\nimport no_such_thing.sub" + RUN)
        assert cause.code == causes.PACKAGE_MISSING
        assert cause.message == (
            "The package `no_such_thing` is not in the image (score.py, line 2)."
        )
        assert cause.evidence[:2] == (
            '  File "score.py", line 2, in <module>',
            "    import no_such_thing.sub",
        )
        assert cause.evidence[-1] == "ModuleNotFoundError: No module named 'no_such_thing'"
        assert "Add `no_such_thing` to the requirements" in cause.fix

    def test_missing_package_of_another_name(
        self, load_script: Load, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("modelyard_runtime.causes._is_installed", lambda package: False)
        script = "raise ModuleNotFoundError('No module', name='cv2')" + RUN
        assert "Add `opencv-python-headless`" in cause_of(load_script, script).fix

    def test_missing_package_of_a_file_beside(self, load_script: Load) -> None:
        cause = cause_of(load_script, "import beside", **{"beside.py": "\nimport no_such_thing"})
        assert cause.code == causes.PACKAGE_MISSING
        assert "beside.py, line 2" in cause.message
        assert '  File "score.py", line 1, in <module>' in cause.evidence

    def test_missing_part_of_an_installed_package(self, load_script: Load) -> None:
        cause = cause_of(load_script, "import json.no_such_part" + RUN)
        assert cause.code == causes.IMPORT_FAILED
        assert "The installed version of `json` has no `json.no_such_part`" in cause.fix

    def test_missing_name(self, load_script: Load) -> None:
        cause = cause_of(load_script, "from json import no_such_name" + RUN)
        assert cause.code == causes.IMPORT_FAILED
        assert "score.py, line 1" in cause.message

    def test_syntax_error(self, load_script: Load) -> None:
        cause = cause_of(load_script, "x = 1\ndef run(data:\n")
        assert cause.code == causes.IMPORT_FAILED
        assert "SyntaxError" in cause.message
        assert '  File "score.py", line 2' in cause.evidence
        assert "syntax error" in cause.fix

    def test_anything_else_that_is_raised(self, load_script: Load) -> None:
        cause = cause_of(load_script, "1 / 0" + RUN)
        assert cause.code == causes.IMPORT_FAILED
        assert cause.message == (
            "score.py could not be imported: ZeroDivisionError: division by zero "
            "(score.py, line 1)."
        )

    def test_exit(self, load_script: Load) -> None:
        cause = cause_of(load_script, "raise SystemExit(7)" + RUN)
        assert cause.code == causes.INIT_EXITED
        assert "exit status 7 while score.py was imported" in cause.message

    def test_missing_script(self, configure: Configure, load_script: Load) -> None:
        config = configure("")
        Path(config.code, "score.py").unlink()
        with pytest.raises(StartFailed) as failed:
            load(config, lambda phase: None)
        assert failed.value.cause.code == causes.IMPORT_FAILED


class TestInit:
    def test_raises(self, load_script: Load) -> None:
        cause = cause_of(load_script, "def init():\n    raise ValueError('no\\nluck')" + RUN)
        assert cause.code == causes.INIT_RAISED
        assert cause.message == "`init()` raised ValueError: no (score.py, line 2)."
        assert cause.evidence == (
            '  File "score.py", line 2, in init',
            "    raise ValueError('no\\nluck')",
            "ValueError: no",
            "luck",
        )

    def test_raises_inside_a_library(self, load_script: Load) -> None:
        cause = cause_of(load_script, "import json\ndef init():\n    json.loads('{')" + RUN)
        assert "score.py, line 3" in cause.message
        assert not any("json/decoder" in line for line in cause.evidence)

    def test_exits(self, load_script: Load) -> None:
        cause = cause_of(load_script, "import sys\ndef init():\n    sys.exit('bye')" + RUN)
        assert cause.code == causes.INIT_EXITED
        assert "exit status 'bye' while `init()` ran (score.py, line 3)" in cause.message

    def test_needs_a_missing_package(self, load_script: Load) -> None:
        cause = cause_of(load_script, "def init():\n    import no_such_thing" + RUN)
        assert cause.code == causes.PACKAGE_MISSING

    @pytest.mark.parametrize(
        "opening",
        [
            "open(os.environ['AZUREML_MODEL_DIR'] + '/model.pkl')",
            "open(os.path.relpath(os.environ['AZUREML_MODEL_DIR']) + '/model.pkl')",
            "pathlib.Path(os.environ['AZUREML_MODEL_DIR'], 'model.pkl').read_bytes()",
            "os.listdir(os.environ['AZUREML_MODEL_DIR'] + '/model.pkl')",
        ],
    )
    def test_opens_a_model_file_that_is_not_there(self, load_script: Load, opening: str) -> None:
        script = f"import os, pathlib\ndef init():\n    {opening}" + RUN
        cause = cause_of(load_script, script)
        assert cause.code == causes.MODEL_FILE_MISSING
        assert "`iris/3/model.pkl`" in cause.message
        assert cause.evidence[-1] == "in the image: iris/3/weights.txt"

    def test_opens_another_file_that_is_not_there(self, load_script: Load) -> None:
        cause = cause_of(load_script, "def init():\n    open('model.pkl')" + RUN)
        assert cause.code == causes.INIT_RAISED
        assert "MODELYARD_MODEL_DIR" in cause.fix

    def test_must_not_be_async(self, load_script: Load) -> None:
        cause = cause_of(load_script, "async def init(): ..." + RUN)
        assert cause.code == causes.INIT_RAISED
        assert "async" in cause.message

    def test_evidence_is_bounded(self, load_script: Load) -> None:
        cause = cause_of(load_script, "def init():\n    raise ValueError('x\\n' * 9999)" + RUN)
        assert len(cause.evidence) == 30
        cause = cause_of(load_script, "def init():\n    raise ValueError('x' * 9999)" + RUN)
        assert max(map(len, cause.evidence)) == 500
        assert len(cause.message) < 600
