"""`make fuzz`: look for bytes that break what `target.check` says, guided by coverage.

Arguments are those of libFuzzer, such as `-max_total_time=600`. What it finds new is added to the
corpus, which `test_corpus` replays; what breaks is written to a file beside it.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

HERE = Path(__file__).parent

with atheris.instrument_imports(include=["modelyard_runtime"]):
    from tests.faults.fuzz.seeds import write_seeds
    from tests.faults.fuzz.target import check


def main() -> None:
    """Explore until the time is over or something breaks."""
    with tempfile.TemporaryDirectory() as begin:
        write_seeds(Path(begin))
        options = ["-max_len=4096", f"-dict={HERE}/words.dict", f"-artifact_prefix={HERE}/broken-"]
        atheris.Setup([sys.argv[0], *options, f"{HERE}/corpus", begin, *sys.argv[1:]], check)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
