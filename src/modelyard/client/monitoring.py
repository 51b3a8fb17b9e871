"""How services are used, how good their answers are, and what has changed in their traffic."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from pydantic import TypeAdapter

from modelyard.client.collection import Collection
from modelyard.client.connection import WORKED_OUT, parse
from modelyard.client.files import StrPath
from modelyard.client.times import as_text, so_long_ago
from modelyard.domain.drift import Baseline, DriftReport
from modelyard.domain.quality import AskQuality, Period, Quality, Task
from modelyard.domain.service import Service
from modelyard.domain.telemetry import ServiceLoad, ServiceMetrics
from modelyard.domain.validation import compose
from modelyard.domain.values import Seconds, Spec
from modelyard.errors import InvalidRequest

_BATCH = 1 << 20
_LOADS = TypeAdapter(tuple[ServiceLoad, ...])


class Monitoring(Collection[Service]):
    """What is known of services by their traffic."""

    def top(self) -> tuple[ServiceLoad, ...]:
        """How every service is used now: averages of the last ten seconds, by name."""
        return _LOADS.validate_json(self._connection.request("GET", "/top").content)

    def metrics(
        self, name: str, *, last: float | str = "1h", step: float | str | None = None
    ) -> ServiceMetrics:
        """How a service was used over a time; minutes are kept for seven days.

        Args:
            name: Name of the service.
            last: How far back: seconds, or text such as `24h`.
            step: How long each point is, in whole minutes: seconds, or text such as `5m`; unset
                takes what makes about sixty points.

        Raises:
            InvalidRequest: That is longer than minutes are kept, or too many points.
        """
        asked = compose(_Asked, {"last": last, "step": step}, "the time")
        params = asked.model_dump(exclude_none=True)
        response = self._connection.request("GET", f"{self._path(name)}/metrics", params=params)
        return parse(ServiceMetrics, response)

    def quality(
        self,
        name: str,
        *,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        by: Period | str | None = None,
        task: Task | str | None = None,
        output: str | None = None,
        scores: str | None = None,
    ) -> Quality:
        """How good a service's answers were, by the truths that were told of them.

        Args:
            name: Name of the service.
            since: Answers from then on: a time, or how long ago it was, such as `7d`.
            until: Answers before then, likewise.
            by: `day` or `hour`: figures for each; unset: for all of the time.
            task: `classification` or `regression`; unset: it follows from truths and answers.
            output: Name of the value that is compared, where an answer has several.
            scores: Name of the value with the chances of classes.

        Raises:
            NotFound: Nothing was captured of that service.
            InvalidRequest: It cannot be told which values are to be compared.
        """
        wanted = {
            "since": as_text(since),
            "until": as_text(until),
            "by": by,
            "task": task,
            "output": output,
            "scores": scores,
        }
        given = {key: value for key, value in wanted.items() if value is not None}
        asked = compose(AskQuality, given, "the quality")
        params = asked.model_dump(mode="json", exclude_none=True)
        response = self._connection.request(
            "GET", f"{self._path(name)}/quality", params=params, silence=WORKED_OUT
        )
        return parse(Quality, response)

    def drift(
        self,
        name: str,
        *,
        last: float | str = "24h",
        window: tuple[datetime, datetime] | None = None,
        against: tuple[datetime, datetime] | None = None,
        model: str | None = None,
    ) -> DriftReport:
        """Compare what a service was asked and has answered with a baseline.

        Args:
            name: Name of the service; it may be gone.
            last: How far back to look: seconds, or text such as `7d`.
            window: Look at whole hours from one time until before another instead.
            against: Compare with such a time; unset: with what `set_baseline` has set, else with
                the first day of the model version.
            model: `iris:4`; unset takes the version with most rows in the window.

        Raises:
            NotFound: There are no captured rows in the window, or there is nothing to compare with.
            Unavailable: What has come in is still being looked at; ask again in some seconds.
        """
        since, until = window or (so_long_ago(last), datetime.now(UTC))
        params = {"since": as_text(since), "until": as_text(until)}
        if against is not None:
            params |= {"against_since": as_text(against[0]), "against_until": as_text(against[1])}
        if model is not None:
            params["model"] = model
        return self._connection.get(f"{self._path(name)}/drift", DriftReport, params)

    def set_baseline(
        self, name: str, path: StrPath, *, answer: str | None = None, model: str | None = None
    ) -> Baseline:
        """Set what a model was made for, such as its training data.

        Args:
            name: Name of the service.
            path: A `.csv` file with a header or a `.parquet` file, with a column for each input.
            answer: The column that is the model's answer: `output`, or the field of this name where
                captured answers are objects that have one.
            model: `iris:4`; unset takes the one that the service runs.

        Raises:
            NotFound: There is no such service, or it has no such model.
            InvalidRequest: The file is no such table, or captured rows lack one of its columns.
        """
        file = Path(path)
        if not file.is_file():
            raise InvalidRequest(
                f"there is no file `{file}`", hint="name a `.csv` or `.parquet` file"
            )
        given = {"ending": file.suffix, "answer": answer, "model": model}
        params = {key: value for key, value in given.items() if value is not None}
        where = f"{self._path(name)}/baseline"
        return parse(Baseline, self._connection.send_body(where, _chunks(file), {}, params))


class _Asked(Spec):
    """A time and its steps, as they are given."""

    last: Seconds
    step: Seconds | None


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_BATCH):
            yield chunk
