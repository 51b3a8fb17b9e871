"""`python -m modelyard.agent.supervisor <folder> <lock>`: supervise the replica of that folder.

`lock` is the descriptor of the folder's lock, taken by whoever starts this process and held here
to its end: the folder is never without an owner while a replica may run.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from modelyard.agent.supervisor.spec import Spec
from modelyard.agent.supervisor.supervise import Supervisor


def main() -> None:
    """Supervise until told to stop."""
    folder = Path(sys.argv[1])
    os.set_inheritable(int(sys.argv[2]), False)  # the runtime must not hold it
    Supervisor(folder, Spec.read(folder)).run()


if __name__ == "__main__":
    main()
