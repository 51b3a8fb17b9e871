"""`python -m modelyard.capture.asking`: answers one SQL question about files of records.

It reads a `Question` from stdin, writes the answer into a file and ends with status 0; or, with
status 1, says in one line of stderr why not. The SQL is a stranger's: it may read the views
`requests`, `rows` and `collected`, and nothing else of this host, and can change nothing.
"""

from __future__ import annotations

import os
import re
import resource
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb
import orjson

from modelyard.capture.cells import MOMENT, PLAIN, SIDES
from modelyard.capture.encrypting import Decryption, Undecipherable
from modelyard.capture.jobs import Question
from modelyard.capture.reading import literal
from modelyard.capture.sealing import RECORD_COLUMNS, identifier
from modelyard.domain.captured import AnswerForm

MEMORY = 1 << 30
"""Bytes that DuckDB may use."""
ALL_MEMORY = 4 << 30
"""Bytes of address space of the whole process, rows on their way to JSON included."""
DISK = 4 << 30
"""Bytes of the answer; and of what DuckDB puts aside meanwhile, beside it."""
_COUNTED = """
    CREATE VIEW counted AS SELECT * FROM records WHERE
    recorded_by = 'gateway' OR recorded_by = 'row' AND code = 'gateway' OR
    recorded_by IN ('worker', 'row')
    AND prediction_id NOT IN (SELECT prediction_id FROM records WHERE recorded_by = 'gateway')
    AND NOT EXISTS (
        SELECT 1 FROM records AS later
        WHERE later.attempt > 1 AND later.prediction_id = records.prediction_id
        AND later.attempt > coalesce(records.attempt, 1)
    )
"""
"""A worker may have recorded an answer that it could not send any more: what the gateway then has
answered counts, or a worker that was asked after it. Rows are as the records they were made from.
"""
_LABELLED = "labelled"
_WHOLE = {"BIGINT", "UBIGINT"}
_VIEWS = "`requests`, `rows`, `collected`, `feedback` and `labelled`"
_NO_TABLE = re.compile(r"Catalog Error: Table with name \"?(.+?)\"? does not exist")
_WORD = 63
_THREADS = 4  # each has a stack and a heap, which count as memory


class Refused(Exception):
    """The SQL is not answered; the message says why."""


def ask(question: Question) -> None:
    """Answer a question.

    Raises:
        Refused: The SQL is wrong, or not only a `SELECT`.
    """
    with connect(question.answer.with_name("aside")) as connection:
        make_views(connection, question.files)
        if _LABELLED in question.sql.lower():
            _make_labelled(connection)
        if question.decryption:
            _let_decrypt(connection, bytes.fromhex(question.decryption))
        answer = question.answer
        written_first = answer.with_name(f"tmp_{answer.name}")  # which becomes it when whole
        close(connection, (*question.files, answer, written_first))
        try:
            _refuse_more_than_reading(connection, question.sql)
            found = connection.sql(question.sql)
            if question.most_rows is not None:
                found = found.limit(question.most_rows)
            _write(found, question)
        except duckdb.Error as error:
            whole = _without_names_of_ours(str(error).strip())
            raise Refused(whole.partition(f"{Undecipherable.__name__}: ")[2] or whole) from error
        except MemoryError as error:
            raise Refused("the answer is too large for JSON: ask for CSV or Parquet") from error
        except orjson.JSONEncodeError as error:
            raise Refused(f"the answer is no JSON: {error}") from error


def connect(
    aside: Path, *, memory: int = MEMORY, disk: int = DISK, threads: int = _THREADS
) -> duckdb.DuckDBPyConnection:
    """A database in memory, within bounds.

    Args:
        aside: Folder for what it has no room for.
        memory: Bytes that it may use.
        disk: Bytes that it may put aside.
        threads: At most so many.
    """
    limits: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": f"{memory >> 20}MiB",
        "threads": min(threads, os.cpu_count() or 1),
        "temp_directory": str(aside),
        "max_temp_directory_size": f"{disk >> 20}MiB",
    }
    connection = duckdb.connect(config=limits)
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def make_views(connection: duckdb.DuckDBPyConnection, files: tuple[Path, ...]) -> None:
    """`requests`: a row for each answered request. `rows`: one for each row that they were about.
    `collected`: one for each of a script's. `feedback`: one for each truth that was told.
    """
    records = connection.read_parquet(
        [literal(path) for path in files], union_by_name=True, hive_partitioning=False
    )
    for name in ("withheld", "attempt", "row"):  # files of before there were such
        if name not in records.columns:
            records = records.project(f"*, NULL::{RECORD_COLUMNS[name]} AS {name}")
    records.create_view("records")
    connection.execute(_COUNTED)
    counted = connection.view("counted")
    own = ", ".join(name for name in RECORD_COLUMNS if name != "row")
    counted.filter("recorded_by <> 'row'").project(own).create_view("requests")
    about = "service, deployment, image, model, version, replica"
    cells = "".join(f", {cell}" for cell in _cells(records.columns))
    scored = counted.filter("recorded_by = 'row'")
    scored.project(f"time, prediction_id, row, {about}{cells}").create_view("rows")
    connection.execute(
        "CREATE VIEW collected AS SELECT time, prediction_id, service, deployment, image, model, "
        "version, replica, code AS name, inputs AS data FROM records WHERE recorded_by = 'script'"
    )
    connection.execute(
        "CREATE VIEW feedback AS SELECT time, prediction_id, row, outputs AS truth, service, "
        "key_id FROM records WHERE recorded_by = 'feedback'"
    )


def _make_labelled(connection: duckdb.DuckDBPyConnection) -> None:
    """`labelled`: rows whose truth was told, with the last one of each, typed as all of them are.

    It takes a look at every truth, so it is made only for those who ask for it.
    """
    connection.execute(
        "CREATE TEMP TABLE told AS "
        "SELECT prediction_id, row, arg_max(truth, time) AS truth, max(time) AS told_at "
        "FROM feedback SEMI JOIN rows USING (prediction_id, row) GROUP BY ALL"
    )
    connection.execute(
        f"CREATE VIEW labelled AS SELECT rows.*, {_truth(connection)} AS truth, "  # noqa: S608
        "told.told_at FROM rows JOIN told "
        "ON rows.prediction_id = told.prediction_id AND rows.row = told.row"
    )


def _truth(connection: duckdb.DuckDBPyConnection) -> str:
    """SQL for truths: plain where all are texts, or numbers, or booleans; else JSON."""
    found = connection.execute(
        "SELECT DISTINCT json_type(truth), TRY_CAST(truth->>'$' AS BIGINT) IS NULL FROM told"
    ).fetchall()
    kinds = {kind for kind, _ in found}
    if kinds == {"VARCHAR"}:
        return "truth->>'$'"
    if kinds == {"BOOLEAN"}:
        return "CAST(truth->>'$' AS BOOLEAN)"
    if kinds and kinds <= _WHOLE and not any(is_larger for _, is_larger in found):
        return "CAST(truth->>'$' AS BIGINT)"
    if kinds and kinds <= {*_WHOLE, "DOUBLE"}:
        return "TRY_CAST(truth->>'$' AS DOUBLE)"
    return "truth"


def _cells(columns: Sequence[str]) -> Iterator[str]:
    """SQL for the typed columns of all files: one for each name, whether of times or of others."""
    found: dict[str, list[str]] = {}
    names: dict[str, str] = {}
    for column in columns:
        for side in SIDES:
            for mark in (PLAIN, MOMENT):
                if column.startswith(side + mark):
                    bare = column.removeprefix(side + mark)
                    name = f"{side}_{bare}" if bare else side
                    names.setdefault(name.lower(), name)
                    found.setdefault(name.lower(), []).append(identifier(column))
    for key, parts in found.items():
        value = parts[0]
        if len(parts) > 1:
            value = f"coalesce({', '.join(f'{part}::VARCHAR' for part in parts)})"
        yield f"{value} AS {identifier(names[key])}"


def _without_names_of_ours(said: str) -> str:
    """What DuckDB said; of a table that it does not know, which views there are."""
    unknown = _NO_TABLE.match(said)
    return f"there is no view `{unknown[1]}`: there are {_VIEWS}" if unknown else said


def _let_decrypt(connection: duckdb.DuckDBPyConnection, private: bytes) -> None:
    """`decrypt(value)`: JSON with what was encrypted in it as it was."""
    decryption = Decryption(private)
    connection.create_function("decrypt", decryption.decrypt_document, ["VARCHAR"], "JSON")


def close(connection: duckdb.DuckDBPyConnection, files: Iterable[Path]) -> None:
    """From here on nothing but these files can be reached."""
    # DuckDB asks for the pattern that it was told, and for the file that it opens.
    both = [name for path in files for name in dict.fromkeys((str(path), literal(path)))]
    connection.execute("SET allowed_paths = $1", [both])
    for setting in (
        "python_enable_replacements = false",  # names of tables are none of Python's
        "enable_external_access = false",
        "autoinstall_known_extensions = false",
        "autoload_known_extensions = false",
        "lock_configuration = true",
    ):
        connection.execute(f"SET {setting}")


def _refuse_more_than_reading(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    statements = connection.extract_statements(sql)
    if [statement.type for statement in statements] != [duckdb.StatementType.SELECT]:
        raise Refused("one SELECT is answered, and nothing else")


def _write(answer: duckdb.DuckDBPyRelation, question: Question) -> None:
    if question.form is AnswerForm.PARQUET:
        answer.write_parquet(str(question.answer), compression="zstd", overwrite=True)
    elif question.form is AnswerForm.CSV:
        answer.write_csv(str(question.answer), header=True, overwrite=True)
    else:
        question.answer.write_bytes(orjson.dumps(_table(answer), _plain, orjson.OPT_NON_STR_KEYS))


def _table(answer: duckdb.DuckDBPyRelation) -> dict[str, Any]:
    kinds = [str(kind) for kind in answer.types]
    rows = [
        [_parsed(value, kind) for value, kind in zip(row, kinds, strict=True)]
        for row in answer.fetchall()
    ]
    return {"columns": answer.columns, "types": kinds, "rows": rows}


def _parsed(value: Any, kind: str) -> Any:
    if kind == "JSON" and value is not None:
        with suppress(ValueError):  # what is JSON to DuckDB may be none to others
            return orjson.loads(value)
    elif isinstance(value, int) and value.bit_length() > _WORD:
        return str(value)
    return value


def _plain(value: Any) -> Any:
    """What JSON has no word for."""
    if isinstance(value, bytes):
        return value.hex()
    return str(value)


def bound(seconds: int) -> None:
    """Have this process end after so many seconds of processor time, and take a bounded memory."""
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_AS, (ALL_MEMORY, ALL_MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (DISK, DISK))


def main() -> int:
    """Answer the question on stdin."""
    question = Question.model_validate_json(sys.stdin.buffer.read())
    bound(question.seconds)
    try:
        ask(question)
    except Refused as refusal:
        sys.stderr.write(f"{refusal}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
