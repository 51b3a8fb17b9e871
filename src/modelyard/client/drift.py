"""What the SDK asks and says about drift."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from modelyard.client.access import service_path
from modelyard.client.connection import Connection, parse
from modelyard.client.files import StrPath
from modelyard.domain.drift import Baseline, DriftReport
from modelyard.domain.values import parse_duration
from modelyard.errors import InvalidRequest

Times = tuple[datetime, datetime]
"""From one time until before another."""
_BATCH = 1 << 20


def ask(
    connection: Connection,
    service: str,
    last: float | str,
    window: Times | None,
    against: Times | None,
    model: str | None,
) -> DriftReport:
    """Have the rows of a time compared; without a window it is the last ones until now."""
    since, until = window or _until_now(last)
    params = {"since": _text(since), "until": _text(until)}
    if against is not None:
        params |= {"against_since": _text(against[0]), "against_until": _text(against[1])}
    if model is not None:
        params["model"] = model
    return connection.get(f"{service_path(service)}/drift", DriftReport, params)


def send_baseline(
    connection: Connection, service: str, path: StrPath, answer: str | None, model: str | None
) -> Baseline:
    """Send a table of what a model was made for."""
    file = Path(path)
    if not file.is_file():
        raise InvalidRequest(f"there is no file `{file}`", hint="name a `.csv` or `.parquet` file")
    given = {"ending": file.suffix, "answer": answer, "model": model}
    params = {name: value for name, value in given.items() if value is not None}
    response = connection.send_body(f"{service_path(service)}/baseline", _chunks(file), {}, params)
    return parse(Baseline, response)


def _until_now(last: float | str) -> Times:
    try:
        seconds = float(str(parse_duration(last)))
    except ValueError as error:
        raise InvalidRequest(f"`last`: {error}", hint="write it as `24h`") from None
    now = datetime.now(UTC)
    return now - timedelta(seconds=seconds), now


def _text(moment: datetime) -> str:
    return moment.astimezone().isoformat()


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_BATCH):
            yield chunk
