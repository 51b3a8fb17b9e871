"""Byte-compiles a tree so that the same sources always give the same bytes.

Not in this process: what a process has loaded and compiled before shows in the bytes it writes, in
the order of references inside constants. So the files are dealt out to a fixed number of fresh
interpreters in a fixed order, however many cores there are.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from modelyard.domain.cause import Cause, CauseCode
from modelyard.errors import BuildFailed
from modelyard.images.failures import build_failed
from modelyard.images.launch import Interpreter, base_python

_SHARDS = 8
"""Changing it may change the digest of layers."""
_SOME_NOT_COMPILED = 1
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "PYTHONHASHSEED": "0", "PYTHONUTF8": "1"}


def compile_sources(
    tree: Path, sources: Iterable[str], place: str, interpreter: Interpreter
) -> None:
    """Write the byte code of `sources`, paths below `tree`, beside them.

    What is not valid Python is left out: packages carry such files as test data. The byte code is
    used without looking at its source again, and says that it stands below `place`. Byte code is of
    one minor version of Python: for any but this host's there is none, and such an image compiles
    what it imports at every start, for it is read-only.

    Raises:
        BuildFailed: The compiler could not be run, or was ended.
    """
    if interpreter.python != base_python()[1]:
        return
    # A name with a line break would be two names to the compiler; no layer takes it anyway.
    ordered = sorted(source for source in sources if source.isprintable())
    shards = [ordered[start::_SHARDS] for start in range(min(_SHARDS, len(ordered)))]
    running = [_start(tree, shard, place) for shard in shards]
    for process in running:
        _, output = process.communicate()
        if process.returncode not in (0, _SOME_NOT_COMPILED):
            raise _not_compiled(process.returncode, output)


def _start(tree: Path, sources: Sequence[str], place: str) -> subprocess.Popen[str]:
    python, _ = base_python()
    command = [str(python), "-s", "-S", "-P", "-W", "ignore", "-m", "compileall", "-qq"]
    command += ["--invalidation-mode", "unchecked-hash", "-s", str(tree), "-p", place, "-i", "-"]
    process = subprocess.Popen(
        command,
        env=_ENVIRONMENT,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError), process.stdin as names:
        names.writelines(f"{tree / source}\n" for source in sources)
    process.stdin = None  # else `communicate` would use it again
    return process


def _not_compiled(status: int, output: str) -> BuildFailed:
    return build_failed(
        Cause(
            code=CauseCode.INSTALL_FAILED,
            message=f"The compiler of Python sources ended with status {status}.",
            evidence=tuple(output.splitlines()[-10:]),
            fix="Build again; if it ends so again, look whether the host has memory and disk left.",
        )
    )
