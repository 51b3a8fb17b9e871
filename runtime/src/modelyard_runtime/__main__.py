"""`python -m modelyard_runtime --config replica.json`: one replica, until SIGTERM.

With `--image manifest.json`, it is an image by itself, with its settings in the environment.

This process forks one that loads the script and calls `init()` once. If that one can be forked, it
becomes the parent of the workers and never scores. If it has threads that a fork would lose, it
becomes the first worker itself, and the others load the script for themselves.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from contextlib import suppress

from modelyard_runtime import speaking
from modelyard_runtime.board import Board
from modelyard_runtime.causes import StartFailed
from modelyard_runtime.config import Config, InvalidConfig, read_config
from modelyard_runtime.entry import Entry
from modelyard_runtime.extras import check_grpc, load_grpc
from modelyard_runtime.forking import Child, Uplink, fork, reap_orphans, survives_fork
from modelyard_runtime.listening import with_sockets
from modelyard_runtime.loading import load
from modelyard_runtime.pool import EXIT_FAILED_START, Pool, Signals
from modelyard_runtime.slots import Slots
from modelyard_runtime.standalone import read_image, share_processors
from modelyard_runtime.status import INITIALISING, StatusFile
from modelyard_runtime.worker import Worker, tls_of

EXIT_USAGE = 2

_SIGNALLED = 128
"""What shells and container engines add to the number of a signal."""
_USAGE = "usage: python -m modelyard_runtime --config replica.json | --image manifest.json\n"


class Replica:
    """What all processes of one replica know from the start."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.status = StatusFile(config.status, os.getpid())
        self.board = Board(config.workers)
        self.slots = Slots(config.workers, config.figures)

    def start(self) -> int:
        """Run the replica. Returns the exit status, or minus the signal that ended it."""
        signals = Signals()  # first: what is process 1 of a container ignores SIGTERM until then
        forked = fork()
        return self._load(forked) if isinstance(forked, Uplink) else self._watch(forked, signals)

    def _watch(self, loader: Child, signals: Signals) -> int:
        """Wait for the process that loads; own the workers if it becomes one of them."""
        while True:
            signals.wait([loader], 1.0)
            messages = loader.messages()
            if any(message.get("becomes") == "worker" for message in messages):
                self.status.update(phase=INITIALISING)
                pool = Pool(self.config, self.status, self.board, signals, self._load_and_serve)
                pool.adopt(loader, messages)
                return pool.run()
            ended = loader.reap()
            if ended is not None:
                return 0 if signals.terminated and ended == -signal.SIGTERM else ended
            reap_orphans([loader])
            if signals.terminated:
                loader.kill(signal.SIGTERM)

    def _load(self, uplink: Uplink) -> int:
        try:
            entry = load(self.config, lambda phase: self.status.update(phase=phase))
            load_grpc(self.config, entry.scene)
        except StartFailed as failure:
            _show(failure)
            self.status.fail(failure.cause)
            return EXIT_FAILED_START
        if not survives_fork():
            uplink.send(becomes="worker")
            return self._serve(entry, 0, uplink)
        pool = Pool(
            self.config,
            self.status,
            self.board,
            Signals(),
            lambda slot, uplink: self._serve(entry, slot, uplink),
        )
        return pool.run()

    def _load_and_serve(self, slot: int, uplink: Uplink) -> int:
        try:
            entry = load(self.config, lambda phase: None)
        except StartFailed as failure:
            _show(failure)
            uplink.send(cause=failure.cause.to_json())
            return EXIT_FAILED_START
        return self._serve(entry, slot, uplink)

    def _serve(self, entry: Entry, slot: int, uplink: Uplink) -> int:
        return Worker(self.config, entry, self.board, self.slots, slot, uplink).run()


def main(arguments: list[str]) -> int:
    """Run one replica as the command line says."""
    if len(arguments) != 2 or arguments[0] not in _READERS:
        sys.stderr.write(_USAGE)
        return EXIT_USAGE
    try:
        config = with_sockets(_READERS[arguments[0]](arguments[1]))
        for fd in config.inherited:
            os.set_inheritable(fd, False)  # what a script starts has no business with it
        tls_of(config)
        check_grpc(config)
    except (InvalidConfig, OSError) as error:  # an SSLError too
        sys.stderr.write(f"modelyard: {error}\n")
        return EXIT_USAGE
    speaking.begin()
    ended = Replica(config).start()
    if ended < 0:
        _die_of(-ended)
        return _SIGNALLED - ended
    return ended


def _read_image(path: str) -> Config:
    config = read_image(path, os.environ)
    share_processors(config)
    workers = "1 worker" if config.workers == 1 else f"{config.workers} workers"
    sys.stderr.write(f"modelyard: {config.service} with {workers}, {_where(config)}\n")
    return config


def _where(config: Config) -> str:
    addresses = [*config.listen, *([config.grpc_listen] if config.grpc_listen else ())]
    return f"on {' and '.join(addresses)}"


def _die_of(number: int) -> None:
    """End by the signal that ended the process that counts, so that the supervisor sees it.

    It returns where the kernel lets no signal end this process: as the first of a container.
    """
    with suppress(OSError):  # there is no handler for SIGKILL
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _show(failure: StartFailed) -> None:
    """The whole story for the log; the status file has the lines that matter."""
    cause = failure.cause
    lines = traceback.format_exception(failure.__cause__) if failure.__cause__ else []
    sys.stderr.write(f"{''.join(lines)}modelyard: {cause.message}\nhint: {cause.fix}\n")


_READERS = {"--config": read_config, "--image": _read_image}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
