"""Programs of ours for what is costly, or has a stranger's SQL or files in it: processes of theirs.

They are told what to do on stdin, keys included, and see nothing of the server's environment in
which there may be secrets.
"""

from __future__ import annotations

import os
import subprocess
import sys

from modelyard.domain.values import Value

_KEPT = {
    *("PATH", "HOME", "TMPDIR", "LANG", "TZ"),
    *("LD_LIBRARY_PATH", "PYTHONHOME", "PYTHONPATH"),  # where Python and its packages may be
}


def run(
    program: str, *arguments: str, job: Value, patience: float
) -> subprocess.CompletedProcess[bytes] | None:
    """What a program made of a job; None when it took too long.

    Args:
        program: Its module.
        arguments: Words for it.
        job: What it reads from stdin, as JSON.
        patience: Seconds that it may take.

    Raises:
        OSError: It cannot be started.
    """
    try:
        return subprocess.run(
            [sys.executable, "-P", "-m", program, *arguments],
            input=job.model_dump_json().encode(),
            capture_output=True,
            timeout=patience,
            check=False,
            env=environment(),
        )
    except subprocess.TimeoutExpired:
        return None


def last_words(done: subprocess.CompletedProcess[bytes]) -> str:
    """Why a program has failed: the last line that it wrote to stderr, or its status."""
    words = done.stderr.decode(errors="replace").strip().splitlines()
    return words[-1][:500] if words else f"status {done.returncode}"


def environment() -> dict[str, str]:
    """What programs see of the server's environment."""
    return {name: text for name, text in os.environ.items() if name in _KEPT}
