"""What a look at a service has found, in a sentence, and whether it breaks a rule. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from modelyard.domain.alert_rules import GOOD_WHEN_HIGH, Rule, Signal, how_long, in_words
from modelyard.domain.drift import DriftReport, Verdict
from modelyard.domain.drift import in_words as feature_in_words
from modelyard.domain.figures import KNOWN, quantile, spread, total
from modelyard.domain.quality import Quality, Task
from modelyard_runtime.families import STATUSES, Figures

ENOUGH_REQUESTS = 20
ENOUGH_FAILURES = 5
"""Of fewer requests with fewer failures nobody can say that too many fail."""
ENOUGH_TRUTHS = 50
"""Answers with a truth, of which a measure says something."""
_MOST_NAMED = 3
_MOST_MARKS = 60
_QUANTILES = {Signal.P50: 0.5, Signal.P95: 0.95, Signal.P99: 0.99}
_ENOUGH_TIMES = {Signal.P50: 20, Signal.P95: 40, Signal.P99: 100}
"""Requests of which such a share says something."""
_OF_NUMBERS = (Signal.MAE, Signal.RMSE, Signal.R2)
_MINUTE = timedelta(minutes=1)
_REQUESTS = "modelyard_gateway_requests_total"
_TOOK = "modelyard_gateway_request_duration_seconds"


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
        return Finding(False, f"the last request came {how_long(timedelta(seconds=ago))} ago", ago)
    sentence = f"no request has come for more than {how_long(rule.span)}"
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
    """The marks that count at a time: one from before the window, those in it, and a new one.

    However often this is called, there are no more than about `_MOST_MARKS`: the window is longer
    by the distance of two, at most.
    """
    begin = now.at - rule.span
    before = [one for one in marks if one.at <= begin][-1:]
    kept = [*before, *(one for one in marks if one.at > begin)]
    if len(kept) > 1 and kept[-1].at - kept[-2].at < rule.span / _MOST_MARKS:
        kept.pop()
    return (*kept, now)


def find_drift(rule: Rule, report: DriftReport) -> Finding:
    """Whether features have drifted."""
    last = in_words(rule.span)
    judged = [one for one in report.features if one.verdict is not Verdict.UNKNOWN]
    if not judged:
        return Finding(None, f"there are too few rows of {report.model} in the last {last} to say")
    drifted = [one for one in judged if one.verdict is Verdict.DRIFTED]
    if not drifted:
        sentence = f"no feature of {report.model} has drifted in {report.window.rows:,} rows"
        return Finding(False, f"{sentence} of the last {last}", 0.0)
    named = "; ".join(f"`{one.name}`: {feature_in_words(one)}" for one in drifted[:_MOST_NAMED])
    more = f"; and {len(drifted) - _MOST_NAMED} more" if len(drifted) > _MOST_NAMED else ""
    return Finding(
        True,
        f"{len(drifted)} of {len(report.features)} features of {report.model} have drifted in the "
        f"last {last}: {named}{more}",
        float(len(drifted)),
    )


def find_quality(rule: Rule, quality: Quality, images: Collection[str]) -> Finding:
    """Whether the answers of any deployment are worse than they may be.

    Args:
        rule: The bound.
        quality: What is known of the time.
        images: Those that have traffic now; what others answered is of the past, and not wrong.
    """
    last = in_words(rule.span)
    measured = [
        (value, one)
        for one in quality.measured
        if one.labelled - one.unusable >= ENOUGH_TRUTHS
        and (value := one.figures.get(rule.signal)) is not None
    ]
    if not measured:
        return Finding(None, _why_unmeasured(rule, quality))
    past = ", ".join(sorted({one.image for _, one in measured if one.image} - {*images}))
    measured = [(value, one) for value, one in measured if not one.image or one.image in images]
    if not measured:
        return Finding(
            False, f"what has {rule.signal} in the last {last} has no traffic now: {past}"
        )
    is_better = rule.signal in GOOD_WHEN_HIGH
    choose = min if is_better else max
    value, worst = choose(measured, key=lambda one: one[0])
    rows = worst.labelled - worst.unusable
    sentence = (
        f"{rule.signal} of {worst.image or worst.model} is {value:.3g} over {rows:,} answers of "
        f"the last {last}"
    )
    if value >= rule.bound if is_better else value <= rule.bound:
        return Finding(False, sentence, value)
    which = "less" if is_better else "more"
    return Finding(True, f"{sentence}, {which} than {rule.bound:g}", value)


def _why_unmeasured(rule: Rule, quality: Quality) -> str:
    """Why no deployment has the figure."""
    last = in_words(rule.span)
    usable = max((one.labelled - one.unusable for one in quality.measured), default=0)
    if usable >= ENOUGH_TRUTHS:
        if quality.task is Task.CLASSIFICATION and rule.signal in _OF_NUMBERS:
            return f"the answers of the last {last} are classes, and `{rule.signal}` is of numbers"
        if quality.task is Task.REGRESSION and rule.signal not in _OF_NUMBERS:
            return f"the answers of the last {last} are numbers, and `{rule.signal}` is of classes"
        return f"`{rule.signal}` cannot be told of the answers in the last {last}"
    sentence = f"too few truths were told of answers in the last {last} to say"
    unusable = sum(one.unusable for one in quality.measured)
    return f"{sentence}; {unusable:,} cannot be compared with theirs" if unusable else sentence


def _counted(figures: Figures) -> float:
    """Requests of callers that were let in."""
    strangers = (total(figures, _REQUESTS, f'status="{status}"') for status in (401, 403))
    return total(figures, _REQUESTS) - sum(strangers)


def _most(figures: Figures) -> str:
    """The status of most failures."""
    failures = [status for status in STATUSES if status[0] == "5"]
    return max(failures, key=lambda status: total(figures, _REQUESTS, f'status="{status}"'))


def _time(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms" if seconds < 0.9995 else f"{seconds:.3g} s"
