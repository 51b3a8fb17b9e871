"""Captured rows are sketched in the background, each file once: any window is compared fast."""

from __future__ import annotations

import base64
import hashlib
import logging
import threading
from collections.abc import Sequence
from pathlib import Path

from modelyard.capture.files import CapturedFiles
from modelyard.control import programs
from modelyard.control.rounds import a_round
from modelyard.domain.captured import Segment
from modelyard.domain.values import Value
from modelyard.errors import IntegrityError, InvalidRequest, Unavailable
from modelyard.monitoring.jobs import Sketched, SketchJob, TableJob
from modelyard.store import Database
from modelyard.store.sketches import NewPart

PERIOD = 30.0
"""Seconds between two rounds."""
MOST_FILES = 200
"""Files that one process sketches."""
MOST_BYTES = 256 << 20
_PATIENCE = 600.0

_logger = logging.getLogger("modelyard.sketching")


class Sketcher:
    """One thread that sketches what has come in.

    Args:
        database: Where sketches are kept.
        files: The records.
        workspace: Whose.
    """

    def __init__(self, database: Database, files: CapturedFiles, workspace: str) -> None:
        self._database = database
        self._files = files
        self._workspace = workspace
        self._stopping = False
        self._woken = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sketching", daemon=True)

    def start(self) -> None:
        """Begin with a first round."""
        self._thread.start()

    def stop(self) -> None:
        """End after the process that is running."""
        self._stopping = True
        self._woken.set()
        self._thread.join()

    def wake(self) -> None:
        """Somebody wants to know: begin a round now."""
        self._woken.set()

    def _run(self) -> None:
        while not self._stopping:
            self._woken.clear()
            with a_round(_logger):
                while not self._stopping and self.round():
                    pass
            self._woken.wait(PERIOD)

    def round(self) -> int:
        """Sketch some files of one day; how many. 0: there are none, or one is just changing."""
        with self._database.read() as tx:
            names = tx.sketches.next_files(self._workspace, MOST_FILES, MOST_BYTES)
            segments = [tx.captured.get(self._workspace, name) for name in names]
        if not segments:
            return 0
        try:
            return self._sketch(segments)
        except _Unreadable:
            return sum(self._sketch_alone(segment) for segment in segments)

    def _sketch_alone(self, segment: Segment) -> int:
        """Sketch one file; one that cannot be read is passed over, and holds up no other."""
        try:
            return self._sketch([segment])
        except _Unreadable as error:
            if isinstance(error, _Changed) and self._is_coming(segment):
                return 0
            _logger.warning("`%s` is in no sketch: %s", segment.name, error)
            return self._keep([segment], Sketched(parts=()))

    def _sketch(self, segments: Sequence[Segment]) -> int:
        files = self._files.paths(segments)
        for segment, path in zip(segments, files, strict=True):
            if not _is_file_of(segment, path):  # what was forgotten may still be in an old one
                raise _Changed("its file is gone, or has changed")
        return self._keep(segments, _in_a_process("records", SketchJob(files=files)))

    def _is_coming(self, segment: Segment) -> bool:
        """Whether its new file, after a forgetting, has still to get to its place, or just has."""
        is_on_its_way = self._files.rewritten().get(segment.name) == segment.digest
        return is_on_its_way or _is_file_of(segment, self._files.path(segment))

    def _keep(self, segments: Sequence[Segment], found: Sketched) -> int:
        from modelyard.monitoring.sketches import merged, pack  # loads numpy

        parts = [
            NewPart(part.begins, part.rows, base64.b64decode(part.sketch)) for part in found.parts
        ]
        try:
            with self._database.write() as tx:
                kept = tx.sketches.add(segments, parts, lambda several: pack(merged(several)))
        except IntegrityError as error:  # of a sketch that is kept: the new ones were just made
            self._begin_anew(segments[0], error)
            return len(segments)
        return len(segments) if kept else 0

    def _begin_anew(self, segment: Segment, error: IntegrityError) -> None:
        """Drop what is kept of a day, and have all of its files sketched once more."""
        _logger.warning(
            "sketches of `%s`, %s:%s, of %s are made anew of its files: %s",
            *(segment.service_name, segment.model, segment.version, segment.date, error),
        )
        with self._database.write() as tx:
            tx.sketches.forget_day(self._workspace, segment)


def sketch_table(path: Path, ending: str, output: str | None, output_name: str) -> Sketched:
    """What is kept of a table of features.

    Raises:
        InvalidRequest: The file is none, or has no such column.
    """
    try:
        job = TableJob(path=path, ending=ending, output=output, output_name=output_name)
        return _in_a_process("table", job)
    except _Unreadable as error:
        raise InvalidRequest(
            f"the baseline cannot be read: {error}",
            hint="give a `.csv` file with a header or a `.parquet` file, with one column for each "
            "input; name the column of the model's answer with --answer",
        ) from None


class _Unreadable(Exception):
    """What the program says."""


class _Changed(_Unreadable):
    """A file is not the one that its segment names."""


def _is_file_of(segment: Segment, path: Path) -> bool:
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return False
    return f"sha256:{digest}" == segment.digest


def _in_a_process(what: str, job: Value) -> Sketched:
    try:
        done = programs.run("modelyard.monitoring.sketching", what, job=job, patience=_PATIENCE)
    except OSError as error:
        raise Unavailable(
            f"rows cannot be sketched: {error.strerror}", hint="see to the memory of the server"
        ) from error
    if done is None:
        raise _Unreadable("it took too long")
    if done.returncode:
        raise _Unreadable(programs.last_words(done))
    return Sketched.model_validate_json(done.stdout)
