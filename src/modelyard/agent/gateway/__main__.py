"""`python -m modelyard.agent.gateway --dir <folder> …`: the gateway of one host.

Started by the agent, detached. Exit status: 0 after SIGTERM, or when another one has taken over; 1
when one runs there, and is not to be replaced, or cannot be.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import sys
from pathlib import Path

from modelyard.agent.gateway import REPLACE
from modelyard.agent.gateway.files import PORT, REFUSAL
from modelyard.agent.gateway.handover import take
from modelyard.agent.gateway.listening import Address
from modelyard.agent.gateway.log import log_to_stderr
from modelyard.agent.gateway.parent import Parent, lock_folder
from modelyard.agent.gateway.watching import PATIENCE
from modelyard.errors import Conflict
from modelyard.files import replace_file

_log = logging.getLogger("modelyard.gateway")


def main() -> int:
    """Run the gateway of one folder."""
    arguments = _arguments()
    log_to_stderr()
    try:
        return _run(arguments)
    except Conflict as error:
        _log.error("%s", error.message)
        if arguments.replace:
            _tell(arguments.dir / REFUSAL, error)
        return 1


def _tell(path: Path, error: Conflict) -> None:
    """Say to the agent why the gateway that runs is not replaced."""
    cause = error.details.get("cause", {})
    told = {"code": "internal", "evidence": [], "fix": error.hint, **cause}
    try:
        replace_file(path, json.dumps({**told, "message": error.message}), durable=False)
    except OSError as failure:
        _log.error("the agent cannot be told: %s", failure)


def _run(arguments: argparse.Namespace) -> int:
    folder: Path = arguments.dir.absolute()
    taken = take(folder) if arguments.replace else None
    lock = (taken.lock if taken else None) or lock_folder(folder)
    if taken is None:
        taken = take(folder)  # from processes whose parent was killed
    address = Address(arguments.host, arguments.port, folder / PORT)
    told = tuple(word for word in sys.argv[1:] if word != REPLACE)
    gc.freeze()  # what is here now stays: the collector need not look at it again
    with lock:
        processes, patience = arguments.processes, arguments.patience
        return Parent(folder, address, processes, lock, told, taken, patience).run()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m modelyard.agent.gateway")
    parser.add_argument("--dir", type=Path, required=True, help="folder with config.json")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=0, help="port to listen on; 0: a free one")
    parser.add_argument("--processes", type=int, default=2, help="how many share the port")
    parser.add_argument(
        "--patience",
        type=float,
        default=PATIENCE,
        help="seconds without a sign of life after which a process is replaced",
    )
    parser.add_argument(REPLACE, action="store_true", help="take over from the one that runs")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
