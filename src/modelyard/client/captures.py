"""Captured records: list their files, ask by SQL, export, account for them."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path

import httpx2
from pydantic import TypeAdapter

from modelyard.client.access import service_path
from modelyard.client.connection import REWRITTEN, WORKED_OUT, Connection, parse
from modelyard.client.files import StrPath
from modelyard.client.frames import Frame
from modelyard.client.times import as_text
from modelyard.domain.captured import Account, AnswerForm, Forgotten, Segment
from modelyard.domain.service import Service
from modelyard.domain.validation import compose
from modelyard.errors import Conflict, InvalidRequest, NotFound
from modelyard.schemas import AskCaptured, CapturedTable, ForgetCaptured

_SEGMENTS = TypeAdapter(tuple[Segment, ...])
_PAUSE = 0.5
_FORMS = {".parquet": AnswerForm.PARQUET, ".csv": AnswerForm.CSV}
ALL = "SELECT * FROM requests ORDER BY time"
"""What is exported unless told otherwise."""


class Captures:
    """Requests that were recorded, and their answers."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(
        self,
        service: str | None = None,
        *,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
    ) -> tuple[Segment, ...]:
        """Files of records, oldest first; of one service or of all."""
        params = {"service": service, "since": as_text(since), "until": as_text(until)}
        given = {name: value for name, value in params.items() if value is not None}
        response = self._connection.request("GET", "/capture/segments", params=given)
        return _SEGMENTS.validate_json(response.content)

    def query(
        self,
        sql: str,
        *,
        service: str | None = None,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        most_rows: int | None = None,
    ) -> CapturedTable:
        """Answer one `SELECT` from `requests` or `rows`.

        Args:
            sql: In DuckDB's dialect.
            service: Only records of this service; unset takes all.
            since: Only files with records from then on.
            until: Only files with records before then.
            most_rows: Rows of the answer; further ones are left out.

        Raises:
            NotFound: Nothing was captured of that service.
            InvalidRequest: The SQL is wrong, or more than a `SELECT`.
            Unavailable: It takes more than a minute, or too much memory.
        """
        asked = _asked(sql, AnswerForm.JSON, service, since, until, most_rows)
        return parse(CapturedTable, self._ask(asked))

    def frame(
        self,
        sql: str,
        *,
        service: str | None = None,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
    ) -> Frame:
        """Answer one `SELECT` as a table for pandas, polars or Arrow, columns with their types.

        Args:
            sql: In DuckDB's dialect, as for `query`.
            service: Only records of this service; unset takes all.
            since: Only files with records from then on.
            until: Only files with records before then.

        Raises:
            NotFound: Nothing was captured of that service.
            InvalidRequest: The SQL is wrong, or more than a `SELECT`.
        """
        asked = _asked(sql, AnswerForm.PARQUET, service, since, until, None)
        return Frame(self._ask(asked).content)

    def export(
        self,
        path: StrPath,
        sql: str = ALL,
        *,
        service: str | None = None,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        labelled: bool = False,
        overwrite: bool = False,
    ) -> Path:
        """Write an answer into a file: Parquet or CSV, as the ending of its name says.

        pandas, polars and Arrow read it with their `read_parquet`.

        Args:
            path: Of the file.
            sql: The question.
            service: Only records of this service; unset takes all.
            since: Only files with records from then on.
            until: Only files with records before then.
            labelled: Write the rows that were answered in this time and whose truth was told
                since, with it, instead of an answer to `sql`.
            overwrite: Replace the file.

        Raises:
            Conflict: The file is there.
            InvalidRequest: The name ends in neither, its folder is not there or cannot be written
                to, or the SQL is wrong.
            NotFound: Nothing was captured of that service.
        """
        target = Path(path)
        form = _FORMS.get(target.suffix)
        if form is None:
            raise InvalidRequest(
                f"`{target}` ends in neither `.parquet` nor `.csv`", hint="name such a file"
            )
        if target.exists() and not overwrite:
            raise Conflict(f"`{target}` is there already", hint="name another file, or --overwrite")
        if not target.parent.is_dir():
            raise InvalidRequest(
                f"there is no folder `{target.parent}`", hint="name a file in a folder that exists"
            )
        if labelled:
            sql, until = _labelled(since, until), None  # truths are told later
        response = self._ask(_asked(sql, form, service, since, until, None))
        part = target.with_name(f".{target.name}.part")
        try:
            part.write_bytes(response.content)
            part.replace(target)
        except OSError as error:
            raise InvalidRequest(
                f"cannot write `{target}`: {error.strerror}", hint="name another file"
            ) from error
        return target

    def verify(self, service: str, *, wait: float = 30.0) -> Account:
        """What became of the requests to a service, by reading every record.

        Args:
            service: Its name.
            wait: Seconds to wait for records that are still on their way; of a service that records
                requests, also for the first of them.

        Raises:
            NotFound: Nothing was captured of that service.
        """
        path = f"/capture{service_path(service)}/account"
        deadline = time.monotonic() + wait
        first: Account | None = None
        while True:
            try:
                account = parse(Account, self._connection.request("GET", path, silence=WORKED_OUT))
            except NotFound:
                if time.monotonic() > deadline or not self._is_recorded(service):
                    raise
                time.sleep(_PAUSE)
                continue
            first = first or account
            is_news = account.as_of != first.as_of  # of something after this call began
            if (is_news and account.is_final) or time.monotonic() > deadline:
                return account
            time.sleep(_PAUSE)

    def _is_recorded(self, service: str) -> bool:
        try:
            known = self._connection.get(service_path(service), Service)
        except NotFound:
            return False
        return known.settings.capture > 0

    def forget(self, service: str, field: str, value: str | float | bool) -> Forgotten:
        """Delete the records of all requests that have a value in a field, for ever.

        Args:
            service: Its name.
            field: A key of the JSON at any depth, `customer_id`, or the last keys of its path,
                `customer.id`; of inputs, outputs, or what a script has collected.
            value: What it is there; where it was hashed or encrypted, what it was. `7` and `"7"`
                are the same.

        Raises:
            NotFound: Nothing was captured of that service.
            InvalidRequest: The field is none.
            Unavailable: It takes too long, or the disk is full; nothing has changed.
        """
        wanted = compose(ForgetCaptured, {"field": field, "value": value}, "what to forget")
        response = self._connection.request(
            "POST",
            f"/capture{service_path(service)}/forget",
            content=wanted.model_dump_json().encode(),
            headers={"Content-Type": "application/json"},
            repeatable=True,
            silence=REWRITTEN,
        )
        return parse(Forgotten, response)

    def _ask(self, asked: AskCaptured) -> httpx2.Response:
        content = asked.model_dump_json(exclude_unset=True).encode()
        headers = {"Content-Type": "application/json"}
        return self._connection.request(
            "POST",
            "/capture/query",
            content=content,
            headers=headers,
            repeatable=True,
            silence=WORKED_OUT,
        )


def _asked(
    sql: str,
    form: AnswerForm,
    service: str | None,
    since: datetime | str | None,
    until: datetime | str | None,
    most_rows: int | None,
) -> AskCaptured:
    wanted = {
        "sql": sql,
        "form": form,
        "service": service,
        "since": as_text(since),
        "until": as_text(until),
        "most_rows": most_rows,
    }
    given = {name: value for name, value in wanted.items() if value is not None}
    return compose(AskCaptured, given, "the question")


def _labelled(since: datetime | str | None, until: datetime | str | None) -> str:
    """SQL for rows with their truth."""
    bounds = [
        f"time {sign} '{as_text(time)}'::TIMESTAMPTZ"
        for sign, time in ((">=", since), ("<", until))
        if time is not None
    ]
    where = f" WHERE {' AND '.join(bounds)}" if bounds else ""
    return f"SELECT * FROM labelled{where} ORDER BY time, prediction_id, row"  # noqa: S608
