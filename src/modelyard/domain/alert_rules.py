"""Rules of alerts: what is watched of a service, and from where on it is wrong. Pure.

A rule is one line: `error_rate>5%`, `p99>500ms over 15m`, `silence>10m`, `accuracy<0.9`, `drift`.
"""

from __future__ import annotations

import re
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, StringConstraints

from modelyard.domain.values import duration_text, parse_duration


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
    DRIFT = "drift"
    """Features of captured rows that have drifted."""
    ACCURACY = "accuracy"
    BALANCED_ACCURACY = "balanced_accuracy"
    PRECISION = "precision"
    RECALL = "recall"
    F1 = "f1"
    ROC_AUC = "roc_auc"
    R2 = "r2"
    LOG_LOSS = "log_loss"
    MAE = "mae"
    RMSE = "rmse"
    """Of answers whose truth was told later."""


GOOD_WHEN_HIGH = frozenset(
    (
        *(Signal.ACCURACY, Signal.BALANCED_ACCURACY, Signal.PRECISION, Signal.RECALL, Signal.F1),
        *(Signal.ROC_AUC, Signal.R2),
    )
)
QUALITY = GOOD_WHEN_HIGH | {Signal.LOG_LOSS, Signal.MAE, Signal.RMSE}
"""What is measured by truths that are told later."""
JUDGED = QUALITY | {Signal.DRIFT}
"""What is worked out from captured records, which takes longer than to read what was counted."""

_RULE = re.compile(
    r"(?P<signal>[a-z0-9_]+)(?:\s*(?P<sign>[<>])\s*(?P<bound>[0-9.]+(?:%|ms|s|m|h|d)?))?"
    r"(?:\s+over\s+(?P<window>\S+))?"
)
_EXAMPLE = (
    "write `error_rate>5%`, `p99>500ms over 15m`, `silence>10m`, `capture_drops>0`, `drift` or "
    "`accuracy<0.9`"
)
_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86400.0


class Rule(NamedTuple):
    """When something is wrong with a service."""

    signal: Signal
    bound: float = 0.0
    """Share from 0 to 1, seconds, or a number."""
    window: float = 300.0
    """Seconds that are looked at."""

    def __str__(self) -> str:
        text = f"{self.signal}"
        if self.signal is not Signal.DRIFT:
            text += f"{_sign(self.signal)}{_bound_text(self.signal, self.bound)}"
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
    if signal is Signal.DRIFT:
        if match["sign"] is not None:
            raise ValueError("`drift` has no bound: it fires when a feature has drifted")
        bound = 0.0
    elif match["sign"] != _sign(signal):
        wrong = "less" if signal in GOOD_WHEN_HIGH else "more"
        raise ValueError(
            f"`{signal}` is wrong when it is {wrong} than a bound: `{signal}{_sign(signal)}…`"
        )
    else:
        bound = _bound(signal, match["bound"])
    return Rule(signal, bound, _looked_at(signal, bound, match["window"]))


def _sign(signal: Signal) -> str:
    return "<" if signal in GOOD_WHEN_HIGH else ">"


def _looked_at(signal: Signal, bound: float, text: str | None) -> float:
    window = _window(signal, bound)
    if text is not None:
        if signal is Signal.SILENCE:
            raise ValueError("`silence` has its time as its bound: write `silence>10m`")
        window = float(str(parse_duration(text)))
    if signal in JUDGED and not _HOUR <= window <= 30 * _DAY:
        raise ValueError(f"`{signal}` looks at one hour at least, and at 30 days at most")
    if signal not in JUDGED and not _MINUTE <= window <= _DAY:
        raise ValueError("an alert looks at one minute at least, and at one day at most")
    return window


def _window(signal: Signal, bound: float) -> float:
    """Seconds that are looked at unless told otherwise."""
    if signal in JUDGED:
        return _DAY
    return bound if signal is Signal.SILENCE else 300.0


def _bound(signal: Signal, text: str) -> float:
    if signal is Signal.ERROR_RATE:
        share = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)%", text)
        if share is None:
            raise ValueError("a share of failures is in percent: write 5%, as in `error_rate>5%`")
        if float(share[1]) >= 100:
            raise ValueError("a share of failures is less than 100 percent: `error_rate>5%`")
        return float(share[1]) / 100
    if signal is Signal.CAPTURE_DROPS:
        if not re.fullmatch(r"[0-9]{1,9}", text):
            raise ValueError("dropped records are a whole number: `capture_drops>0`")
        return float(text)
    if signal in QUALITY:
        if not re.fullmatch(r"[0-9]+(?:\.[0-9]+)?", text):
            raise ValueError(f"the bound of a measure is a number: `{signal}{_sign(signal)}0.9`")
        if signal in GOOD_WHEN_HIGH and float(text) > 1:
            raise ValueError(f"`{signal}` is at most 1: write a bound from 0 to 1, `{signal}<0.9`")
        return float(text)
    if text[-1:].isdigit():
        raise ValueError(f"a time has its unit: `{signal}>500ms`, `{signal}>10m`")
    return float(str(parse_duration(text)))


def _bound_text(signal: Signal, bound: float) -> str:
    if signal is Signal.ERROR_RATE:
        return f"{bound * 100:g}%"
    if signal is Signal.CAPTURE_DROPS:
        return f"{bound:.0f}"
    if signal in QUALITY:
        return f"{bound:g}"
    return f"{bound * 1000:g}ms" if bound < 1 else duration_text(bound)


def _one_way(text: str) -> str:
    try:
        return str(parse_rule(text))
    except ValueError as error:
        raise ValueError(f"in the rule `{text[:100]}`: {error}") from None


AlertRule = Annotated[str, StringConstraints(max_length=100), AfterValidator(_one_way)]
"""A rule as it is written: `error_rate>5%`, `p99>500ms over 15m`, `silence>10m`."""


def how_long(time: timedelta) -> str:
    """A time as a length: `a minute`, `5 minutes`."""
    words = in_words(time)
    if words[0].isdigit():
        return words
    return f"{'an' if words == 'hour' else 'a'} {words}"


def in_words(time: timedelta) -> str:
    """What `the last …` goes on with: `5 minutes`; the largest unit that leaves a whole number."""
    seconds = round(time.total_seconds())
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= size and (seconds % size == 0 or seconds >= 10 * size):
            count = seconds // size
            return unit if count == 1 else f"{count} {unit}s"
    return "second" if seconds == 1 else f"{seconds} seconds"
