"""`python -m modelyard.agent.container <folder>`: hold the container of that replica's folder.

It ends as the container ended: with its exit status, or by the signal that ended it.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
from pathlib import Path

from modelyard.agent.container.hold import Holder
from modelyard.agent.container.spec import ContainerSpec


def main() -> int:
    """Hold the container to its end."""
    folder = Path(sys.argv[1])
    ended = Holder(folder, ContainerSpec.read(folder)).run()
    if ended < 0:
        _die_of(-ended)
    return ended


def _die_of(number: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # it is not this process that crashed
    with contextlib.suppress(OSError, ValueError):  # there is no handler for SIGKILL
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


if __name__ == "__main__":
    sys.exit(main())
