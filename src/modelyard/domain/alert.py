"""Alerts: what is watched of a service, when that is wrong, and what is said about it. Pure.

A rule is one line, `error_rate>5%`, `p99>500ms over 15m`, `silence>10m`, `capture_drops>0`. What is
found decides, with what was so before, whether the alert fires and whether anybody is told.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, NamedTuple
from uuid import UUID

from pydantic import AfterValidator, StringConstraints

from modelyard.domain.figures import KNOWN, quantile, spread, total
from modelyard.domain.values import Value, duration_text, parse_duration
from modelyard_runtime.families import STATUSES, Figures

CALM = timedelta(minutes=5)
"""How long nothing must be wrong until an alert ends."""
REMIND = timedelta(hours=1)
"""Least time between two messages that say that the same alert fires."""
ENOUGH_REQUESTS = 20
ENOUGH_FAILURES = 5
"""Of fewer requests with fewer failures nobody can say that too many fail."""
_SHORTEST, _LONGEST = 60.0, 86400.0
_MINUTE = timedelta(minutes=1)
_REQUESTS = "modelyard_gateway_requests_total"
_TOOK = "modelyard_gateway_request_duration_seconds"


class Signal(StrEnum):
    """What can be watched."""

    ERROR_RATE = "error_rate"
    """Share of the requests that were answered with 5xx."""
    P50 = "p50"
    P95 = "p95"
    P99 = "p99"
    """Time that this share of the answers took at most."""
    SILENCE = "silence"
    """Time without a request."""
    CAPTURE_DROPS = "capture_drops"
    """Records of requests that were thrown away because there was no room."""


_QUANTILES = {Signal.P50: 0.5, Signal.P95: 0.95, Signal.P99: 0.99}
_ENOUGH_TIMES = {Signal.P50: 20, Signal.P95: 40, Signal.P99: 100}
"""Requests of which such a share says something."""
_RULE = re.compile(
    r"(?P<signal>[a-z0-9_]+)\s*(?P<sign>[<>])\s*(?P<bound>[0-9.]+(?:%|ms|s|m|h|d)?)"
    r"(?:\s+over\s+(?P<window>\S+))?"
)
_EXAMPLE = "write `error_rate>5%`, `p99>500ms over 15m`, `silence>10m` or `capture_drops>0`"


class Rule(NamedTuple):
    """When something is wrong with a service."""

    signal: Signal
    bound: float
    """Share from 0 to 1, seconds, or a number."""
    window: float = 300.0
    """Seconds that are looked at."""

    def __str__(self) -> str:
        text = f"{self.signal}>{_bound_text(self.signal, self.bound)}"
        if self.window == _window(self.signal, self.bound):
            return text
        return f"{text} over {duration_text(self.window)}"

    @property
    def span(self) -> timedelta:
        """The time that is looked at."""
        return timedelta(seconds=self.window)


def parse_rule(text: str) -> Rule:
    """Read a rule as it is written.

    Raises:
        ValueError: It is none.
    """
    match = _RULE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"an alert is a signal, a sign and a bound: {_EXAMPLE}")
    if match["signal"] not in set(Signal):
        raise ValueError(f"`{match['signal'][:50]}` cannot be watched: {', '.join(Signal)} can")
    signal = Signal(match["signal"])
    if match["sign"] != ">":
        raise ValueError(f"`{signal}` is wrong when it is more than a bound: `{signal}>…`")
    bound = _bound(signal, match["bound"])
    window = _window(signal, bound)
    if match["window"] is not None:
        if signal is Signal.SILENCE:
            raise ValueError("`silence` has its time as its bound: write `silence>10m`")
        window = float(str(parse_duration(match["window"])))
    if not _SHORTEST <= window <= _LONGEST:
        raise ValueError("an alert looks at one minute at least, and at one day at most")
    return Rule(signal, bound, window)


def _window(signal: Signal, bound: float) -> float:
    """Seconds that are looked at unless told otherwise."""
    return bound if signal is Signal.SILENCE else 300.0


def _bound(signal: Signal, text: str) -> float:
    if signal is Signal.ERROR_RATE:
        share = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)%", text)
        if share is None or float(share[1]) >= 100:
            raise ValueError("a share of failures is less than 100 percent: `error_rate>5%`")
        return float(share[1]) / 100
    if signal is Signal.CAPTURE_DROPS:
        if not re.fullmatch(r"[0-9]{1,9}", text):
            raise ValueError("dropped records are a whole number: `capture_drops>0`")
        return float(text)
    if text[-1:].isdigit():
        raise ValueError(f"a time has its unit: `{signal}>500ms`, `{signal}>10m`")
    return float(str(parse_duration(text)))


def _bound_text(signal: Signal, bound: float) -> str:
    if signal is Signal.ERROR_RATE:
        return f"{bound * 100:g}%"
    if signal is Signal.CAPTURE_DROPS:
        return f"{bound:.0f}"
    return f"{bound * 1000:g}ms" if bound < 1 else duration_text(bound)


def _one_way(text: str) -> str:
    return str(parse_rule(text))


AlertRule = Annotated[str, StringConstraints(max_length=100), AfterValidator(_one_way)]
"""A rule as it is written: `error_rate>5%`, `p99>500ms over 15m`, `silence>10m`."""


class Finding(NamedTuple):
    """What a look at a service has found."""

    is_wrong: bool | None
    """None: nobody can say."""
    sentence: str
    value: float | None = None
    """In the unit of the rule's bound."""


def find_errors(rule: Rule, figures: Figures) -> Finding:
    """Whether too many requests fail; those with a wrong key are left out."""
    requests, failed = _counted(figures), total(figures, _REQUESTS, 'status="5')
    last = in_words(rule.span)
    if not requests:
        return Finding(None, f"there were no requests in the last {last}")
    share = failed / requests
    enough = requests >= ENOUGH_REQUESTS or failed >= ENOUGH_FAILURES
    sentence = f"{share * 100:.1f} % of {requests:,.0f} requests failed in the last {last}"
    if share <= rule.bound:
        return Finding(False, sentence, share)
    if not enough:
        return Finding(None, f"{sentence}: too few to say", share)
    often = f"; mostly with status {_most(figures)}"
    return Finding(True, f"{sentence}, more than {rule.bound * 100:g} %{often}", share)


def find_slow(rule: Rule, figures: Figures) -> Finding:
    """Whether answers take too long."""
    share, last = _QUANTILES[rule.signal], in_words(rule.span)
    counts = spread(figures, _TOOK)
    answers = sum(counts)
    took = quantile(counts, KNOWN[_TOOK].bounds, share)
    if took is None:
        return Finding(None, f"there were no answers in the last {last}")
    sentence = (
        f"{share * 100:.0f} % of {answers:,.0f} answers in the last {last} took up to {_time(took)}"
    )
    if took <= rule.bound:
        return Finding(False, sentence, took)
    if answers < _ENOUGH_TIMES[rule.signal]:
        return Finding(None, f"{sentence}: too few to say", took)
    return Finding(True, f"{sentence}, more than {_time(rule.bound)}", took)


def find_silence(
    rule: Rule, minutes: Sequence[tuple[datetime, Figures]], heard: datetime | None, now: datetime
) -> Finding:
    """Whether nobody has asked for too long.

    Args:
        rule: What is too long.
        minutes: What was counted, by the begin of each minute; from `rule.span` and a minute ago.
        heard: When the host of the service was last heard of.
        now: The time.
    """
    asked = [begins + _MINUTE for begins, figures in minutes if _counted(figures)]
    if asked and now - max(asked) <= rule.span:
        ago = max(0.0, (now - max(asked)).total_seconds())
        return Finding(False, f"the last request came {in_words(timedelta(seconds=ago))} ago", ago)
    sentence = f"no request has come for more than {in_words(rule.span)}"
    if heard is None or now - heard > 2 * _MINUTE:
        last = f"since {heard:%H:%M} UTC" if heard else "yet"
        sentence += f"; its host has not been heard of {last}"
    return Finding(True, sentence, rule.bound)


class Mark(NamedTuple):
    """How many records had been dropped at a time."""

    at: datetime
    dropped: int


def find_drops(rule: Rule, marks: Sequence[Mark]) -> Finding:
    """Whether too many records were thrown away; the first mark is the oldest that counts."""
    if not marks:
        return Finding(None, "nothing has been captured yet")
    dropped = max(0, marks[-1].dropped - marks[0].dropped)
    sentence = (
        f"{dropped:,} records of requests were dropped in the last {in_words(rule.span)} because "
        "there was no room"
    )
    if dropped <= rule.bound:
        return Finding(False, sentence, float(dropped))
    return Finding(True, f"{sentence}, more than {rule.bound:.0f}", float(dropped))


def mark(rule: Rule, marks: Sequence[Mark], now: Mark) -> tuple[Mark, ...]:
    """The marks that count at a time: one from before the window, those in it, and a new one."""
    begin = now.at - rule.span
    before = [one for one in marks if one.at <= begin][-1:]
    return (*before, *(one for one in marks if one.at > begin), now)


class AlertState(StrEnum):
    """How a rule stands."""

    OK = "ok"
    FIRING = "firing"
    NO_DATA = "no data"
    """There was not enough to say; one that fires goes on to."""


class Alert(Value):
    """A rule of a service, and how it stands."""

    service: str
    rule: str
    state: AlertState
    since: datetime
    sentence: str
    """What was found last; of one that fires, what is wrong."""
    value: float | None = None
    """What was measured: a share from 0 to 1, seconds, or a number."""
    checked_at: datetime
    fired_at: datetime | None = None
    """When it began to fire, the last time that it did."""
    calm_since: datetime | None = None
    """Since when nothing is wrong, while it still fires."""
    told: bool = False
    """Channels were told that it fires."""
    told_at: datetime | None = None
    """When they were told so last, this time or before."""


class Notice(StrEnum):
    """What a message is about."""

    FIRING = "alert.firing"
    RESOLVED = "alert.resolved"
    TEST = "alert.test"


def step(
    before: Alert | None, service: str, rule: str, finding: Finding, now: datetime
) -> tuple[Alert, Notice | None]:
    """How an alert stands after a look at its service, and what is to be told.

    It begins to fire at once, ends when nothing was wrong for `CALM`, and is told of at most once
    per `REMIND` and when it ends, if it was told of before. Who cannot tell goes back to `untold`.
    """
    alert = before or Alert(
        service=service,
        rule=rule,
        state=AlertState.NO_DATA,
        since=now,
        sentence=finding.sentence,
        checked_at=now,
    )
    if alert.state is AlertState.FIRING:
        return _while_firing(alert, finding, now)
    state = _STATES[finding.is_wrong]
    after = alert.model_copy(
        update={
            "state": state,
            "since": alert.since if state is alert.state else now,
            "sentence": finding.sentence,
            "value": finding.value,
            "checked_at": now,
        }
    )
    if state is not AlertState.FIRING:
        return after, None
    return _tell(after.model_copy(update={"fired_at": now, "told": False}), now)


_STATES = {True: AlertState.FIRING, False: AlertState.OK, None: AlertState.NO_DATA}


def _while_firing(alert: Alert, finding: Finding, now: datetime) -> tuple[Alert, Notice | None]:
    if finding.is_wrong is None:
        return alert.model_copy(update={"checked_at": now}), None
    if finding.is_wrong:
        seen = {"sentence": finding.sentence, "value": finding.value, "calm_since": None}
        return _tell(alert.model_copy(update={**seen, "checked_at": now}), now)
    calm_since = alert.calm_since or now
    if now - calm_since < CALM:
        return alert.model_copy(update={"calm_since": calm_since, "checked_at": now}), None
    return end(alert, finding.sentence, now, finding.value)


def end(
    alert: Alert, sentence: str, now: datetime, value: float | None = None
) -> tuple[Alert, Notice | None]:
    """An alert that fires does so no more; told to those who were told that it does."""
    ended = alert.model_copy(
        update={
            "state": AlertState.OK,
            "since": now,
            "sentence": sentence,
            "value": value,
            "checked_at": now,
            "calm_since": None,
            "told": False,
        }
    )
    return ended, Notice.RESOLVED if alert.told else None


def _tell(alert: Alert, now: datetime) -> tuple[Alert, Notice | None]:
    if alert.told_at is not None and now - alert.told_at < REMIND:
        return alert, None
    return alert.model_copy(update={"told": True, "told_at": now}), Notice.FIRING


def untold(before: Alert | None, after: Alert) -> Alert:
    """The same alert when nobody could be told: it is tried again with the next look."""
    told, told_at = (before.told, before.told_at) if before else (False, None)
    return after.model_copy(update={"told": told, "told_at": told_at})


class AlertMessage(Value):
    """What channels are told."""

    id: UUID
    """The same in every attempt: who has seen it can leave it out."""
    type: Notice
    workspace: str
    service: str
    rule: str
    at: datetime
    since: datetime
    """When the alert began to fire, or ended."""
    text: str
    """The whole of it, for people."""
    value: float | None = None


def compose_message(id_: UUID, workspace: str, alert: Alert, notice: Notice) -> AlertMessage:
    """What is told of an alert."""
    return AlertMessage(
        id=id_,
        type=notice,
        workspace=workspace,
        service=alert.service,
        rule=alert.rule,
        at=alert.checked_at,
        since=alert.since,
        text=_text(alert, notice),
        value=alert.value,
    )


def _text(alert: Alert, notice: Notice) -> str:
    if notice is Notice.RESOLVED:
        began = f"{alert.fired_at:%Y-%m-%d %H:%M} UTC" if alert.fired_at else "before"
        return f"{alert.service} is well again: {alert.sentence} ({alert.rule} fired since {began})"
    again = alert.checked_at - alert.since >= REMIND
    still = f", since {alert.since:%Y-%m-%d %H:%M} UTC" if again else ""
    return f"{alert.service}: {alert.sentence} ({alert.rule}{still})"


def _counted(figures: Figures) -> float:
    """Requests of callers that were let in."""
    strangers = (total(figures, _REQUESTS, f'status="{status}"') for status in (401, 403))
    return total(figures, _REQUESTS) - sum(strangers)


def _most(figures: Figures) -> str:
    """The status of most failures."""
    failures = [status for status in STATUSES if status[0] == "5"]
    return max(failures, key=lambda status: total(figures, _REQUESTS, f'status="{status}"'))


def _time(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.3g} s"


def in_words(time: timedelta) -> str:
    """A time in the largest unit that leaves a whole number: `5 minutes`."""
    seconds = round(time.total_seconds())
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= size and (seconds % size == 0 or seconds >= 10 * size):
            count = seconds // size
            return unit if count == 1 else f"{count} {unit}s"
    return "second" if seconds == 1 else f"{seconds} seconds"
