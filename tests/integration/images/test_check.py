"""The check start: what a real runtime shows of real scripts, and that nothing is left running."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.integration.images.conftest import Workshop
from tests.integration.images.making import make_model

from modelyard.domain.cause import Cause, CauseCode
from modelyard.errors import BuildFailed

ECHO = """
import json, os

def init():
    global folder
    folder = os.environ["AZUREML_MODEL_DIR"]
    print("loaded from", sorted(os.listdir(folder)), flush=True)

def run(data):
    return {"echo": json.loads(data), "files": sorted(os.listdir(folder))}
"""


@pytest.fixture(autouse=True)
def nothing_left_running(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(home))
    before = set(psutil.Process().children(recursive=True))
    yield
    assert [process for process in psutil.process_iter() if is_of(process, home)] == []
    assert set(psutil.Process().children(recursive=True)) <= before
    assert list(home.iterdir()) == []


def is_of(process: psutil.Process, home: Path) -> bool:
    try:
        return process.environ().get("TMPDIR", "").startswith(str(home))
    except (psutil.Error, OSError):
        return False


def failure(workshop: Workshop, script: str, sample: object = None, **settings: float) -> Cause:
    with pytest.raises(BuildFailed) as caught:
        workshop.check(script, sample, **settings)
    assert caught.value.hint
    return Cause.model_validate(caught.value.details["cause"])


class TestASoundImage:
    def test_what_it_shows_is_reported(self, workshop: Workshop) -> None:
        model = make_model(workshop.blobs, weights=b"x" * 1000)
        report = workshop.check(ECHO, {"data": [1, "é"]}, [model])
        assert report.sample == {"data": [1, "é"]}
        assert report.answer == {"echo": {"data": [1, "é"]}, "files": ["weights.bin"]}
        assert report.workers == 2
        assert report.cold_start > 0
        assert report.scoring_time is not None
        assert report.memory > 1 << 20
        assert isinstance(report.openapi, dict)
        assert report.openapi["openapi"].startswith("3.")

    def test_its_output_is_in_the_log(self, workshop: Workshop) -> None:
        workshop.check(ECHO, 1, [make_model(workshop.blobs, weights=b"x")])
        assert ("check", "loaded from ['weights.bin']") in workshop.lines

    def test_without_a_sample_nothing_is_scored(self, workshop: Workshop) -> None:
        report = workshop.check("def run(data): raise ValueError")
        assert (report.sample, report.answer, report.scoring_time) == (None, None, None)
        assert report.openapi is not None

    @pytest.mark.parametrize(
        ("returned", "answer"),
        [
            ("b'\\x00\\xff'", "\\0\\xff"),
            ("b'[NaN]'", "[NaN]"),
            ("b'\"\\\\ud800\"'", '"\\ud800"'),
            ("b'[1, 2]'", [1, 2]),
            ("'x' * 1_000_000", '"' + "x" * 1999),
        ],
    )
    def test_any_answer_is_kept_in_bounds(
        self, workshop: Workshop, returned: str, answer: object
    ) -> None:
        assert workshop.check(f"def run(data): return {returned}", 1).answer == answer

    def test_files_beside_the_script_are_imported(self, workshop: Workshop) -> None:
        script = "from inner import answer\ndef run(data): return answer()"
        report = workshop.check(script, 1, files={"inner": "def answer(): return 42"})
        assert report.answer == 42


class TestWhatFails:
    def test_an_import_that_fails(self, workshop: Workshop) -> None:
        cause = failure(workshop, "import pandas\ndef run(data): ...")
        assert cause.code is CauseCode.PACKAGE_MISSING
        assert "pandas" in cause.message
        assert any("import pandas" in line for line in cause.evidence)

    def test_an_init_that_raises(self, workshop: Workshop) -> None:
        cause = failure(workshop, "def init():\n    {}['weights']\ndef run(data): ...")
        assert cause.code is CauseCode.INIT_RAISED
        assert "KeyError" in cause.message
        assert any("{}['weights']" in line for line in cause.evidence)

    def test_an_init_that_ends_the_process(self, workshop: Workshop) -> None:
        script = "import os\ndef init():\n    print('bye', flush=True)\n    os._exit(7)\n"
        cause = failure(workshop, script + "def run(data): ...")
        assert cause.code is CauseCode.EXITED
        assert "status 7" in cause.message
        assert "bye" in cause.evidence

    def test_an_init_that_is_killed(self, workshop: Workshop) -> None:
        script = "import os, signal\ndef init(): os.kill(os.getpid(), signal.SIGSEGV)\n"
        cause = failure(workshop, script + "def run(data): ...")
        assert cause.code is CauseCode.KILLED
        assert "SIGSEGV" in cause.message
        assert any("score.py" in line for line in cause.evidence)

    def test_an_init_that_hangs_shows_where(self, workshop: Workshop) -> None:
        script = "import time\ndef init():\n    time.sleep(600)\ndef run(data): ..."
        cause = failure(workshop, script, check_timeout=2)
        assert cause.code is CauseCode.INIT_HUNG
        assert "2 seconds" in cause.message
        assert any('score.py", line 3 in init' in line for line in cause.evidence)

    def test_an_init_that_takes_too_much_memory(self, workshop: Workshop) -> None:
        script = "import time\ndef init():\n    x = b'x' * (300 << 20)\n    time.sleep(600)\n"
        cause = failure(workshop, script + "def run(data): ...", check_memory=200 << 20)
        assert cause.code is CauseCode.OUT_OF_MEMORY
        assert "allows 200 MiB" in cause.message

    def test_a_sample_that_raises_shows_the_line(self, workshop: Workshop) -> None:
        script = "def run(data):\n    return data['missing']\n"
        cause = failure(workshop, script, {"a": 1})
        assert cause.code is CauseCode.SAMPLE_FAILED
        assert any("data['missing']" in line for line in cause.evidence)
        assert cause.evidence[-1].startswith("status 500: ")

    def test_a_sample_that_is_refused(self, workshop: Workshop) -> None:
        cause = failure(workshop, "def run(data): return object()", 1)
        assert cause.code is CauseCode.SAMPLE_FAILED
        assert "status 500" in cause.message

    def test_a_sample_that_ends_the_worker(self, workshop: Workshop) -> None:
        cause = failure(workshop, "import os\ndef run(data): os._exit(9)", 1)
        assert cause.code is CauseCode.SAMPLE_FAILED
        assert "ended without an answer" in cause.message

    def test_a_sample_that_hangs_shows_where(self, workshop: Workshop) -> None:
        script = "import time\ndef run(data):\n    time.sleep(600)\n"
        cause = failure(workshop, script, 1, check_timeout=3)
        assert cause.code is CauseCode.SAMPLE_FAILED
        assert "was not scored within" in cause.message

    def test_an_image_that_was_changed_after_it_was_signed_is_not_started(
        self, workshop: Workshop
    ) -> None:
        manifest = workshop.assemble("def run(data): return 1")
        signature = workshop.key.sign(manifest.digest)
        changed = manifest.model_copy(update={"script": "other.py"})
        with pytest.raises(BuildFailed) as caught:
            workshop.builder.check(changed, signature, 1, workshop.log)
        assert caught.value.details["cause"]["code"] == CauseCode.SIGNATURE_INVALID

    def test_an_image_for_another_host_is_not_started(self, workshop: Workshop) -> None:
        manifest = workshop.assemble().model_copy(update={"python": "3.9"})
        with pytest.raises(BuildFailed) as caught:
            workshop.builder.check(manifest, workshop.key.sign(manifest.digest), None, workshop.log)
        assert caught.value.details["cause"]["code"] == "wrong_platform"


class TestHostileScripts:
    def test_processes_that_hide_are_ended(self, workshop: Workshop) -> None:
        """The test's own fixture looks for them."""
        script = """
import os, subprocess, sys, time
def init():
    sleep = "import time; time.sleep(600)"
    subprocess.Popen([sys.executable, "-c", sleep])
    subprocess.Popen([sys.executable, "-c", sleep], start_new_session=True)
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.execv(sys.executable, [sys.executable, "-c", sleep])
        os._exit(0)
    time.sleep(0.5)
def run(data): return 1
"""
        assert workshop.check(script, 1).answer == 1

    def test_one_that_hides_well_cannot_hold_the_build_up(self, workshop: Workshop) -> None:
        script = """
import os, sys
def init():
    global reading
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.write(writing, str(os.getpid()).encode())
            os.execve(sys.executable, [sys.executable, "-c", "import time; time.sleep(600)"], {})
        os._exit(0)
def run(data):
    return int(os.read(reading, 100))
"""
        hidden = workshop.check(script, 1).answer
        assert isinstance(hidden, int)
        psutil.Process(hidden).kill()

    def test_floods_and_escapes_are_kept_out_of_the_log(self, workshop: Workshop) -> None:
        script = r"""
import sys
def init():
    print("\x1b[31mred\x1b[0m \x1b]0;title\x07 \x00 end")
    sys.stdout.buffer.write(b"\xff\xfe\n" + b"x" * 100_000 + b"\n")
    for n in range(10_000):
        print(n)
def run(data): ...
"""
        workshop.check(script)
        lines = [text for source, text in workshop.lines if source == "check"]
        assert lines[0] == "red \\x1b]0;title\\x07 \\x00 end"
        assert lines[1] == "\\xff\\xfe"
        assert max(map(len, lines)) <= 8192
        assert len(lines) == 2000
        assert lines[-1] == "(more output is left out)"

    def test_the_environment_of_the_server_is_not_seen(
        self, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MODELYARD_TOKEN", "secret")
        script = "import os\ndef run(data): return [k for k in os.environ if 'TOKEN' in k]"
        assert workshop.check(script, 1).answer == []
