"""`python -m modelyard.agent.gateway --dir <folder> …`: the gateway of one host.

Started by the agent, detached. Exit status: 0 after SIGTERM, 1 when one already runs there.
"""

from __future__ import annotations

import argparse
import gc
import logging
import sys
from pathlib import Path

from modelyard.agent.gateway.files import PORT
from modelyard.agent.gateway.listening import Address
from modelyard.agent.gateway.log import log_to_stderr
from modelyard.agent.gateway.parent import Parent, lock_folder
from modelyard.errors import Conflict


def main() -> int:
    """Run the gateway of one folder."""
    arguments = _arguments()
    log_to_stderr()
    try:
        lock = lock_folder(arguments.dir)
    except Conflict as error:
        logging.getLogger("modelyard.gateway").error("%s", error.message)
        return 1
    address = Address(arguments.host, arguments.port, arguments.dir / PORT)
    gc.freeze()  # what is here now stays: the collector need not look at it again
    with lock:
        return Parent(arguments.dir, address, arguments.processes, lock).run()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m modelyard.agent.gateway")
    parser.add_argument("--dir", type=Path, required=True, help="folder with config.json")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=0, help="port to listen on; 0: a free one")
    parser.add_argument("--processes", type=int, default=2, help="how many share the port")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
