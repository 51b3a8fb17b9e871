"""Rules of alerts, what is found, and when somebody is told."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.domain.alert import (
    CALM,
    REMIND,
    Alert,
    AlertState,
    Notice,
    compose_message,
    end,
    leave,
    step,
    untold,
)
from modelyard.domain.alert_findings import (
    Finding,
    Mark,
    find_drift,
    find_drops,
    find_errors,
    find_quality,
    find_silence,
    find_slow,
    mark,
)
from modelyard.domain.alert_rules import in_words, parse_rule
from modelyard.domain.drift import DriftReport
from modelyard.domain.quality import Quality
from modelyard.domain.service import ServiceSettings
from modelyard.domain.validation import compose
from modelyard.errors import InvalidRequest
from modelyard.schemas import DeployService
from modelyard_runtime.families import SECONDS, Figures

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
WRONG, FINE, UNKNOWN = Finding(True, "bad"), Finding(False, "good"), Finding(None, "none")


def answered(took: float = 0.02, **statuses: int) -> Figures:
    """So many answers by status, `s200=7`, each in the time given."""
    buckets = [0.0] * (len(SECONDS) + 2)
    buckets[next(n for n, bound in enumerate(SECONDS) if took <= bound)] = sum(statuses.values())
    return {
        "modelyard_gateway_requests_total": {
            f'status="{status[1:]}"': [float(count)] for status, count in statuses.items()
        },
        "modelyard_gateway_request_duration_seconds": {"": buckets},
    }


class TestRules:
    @pytest.mark.parametrize(
        ("text", "kept"),
        [
            ("error_rate>5%", "error_rate>5%"),
            (" error_rate > 0.50% over 300s ", "error_rate>0.5%"),
            ("error_rate>5% over 900s", "error_rate>5% over 15m"),
            ("p99>0.5s", "p99>500ms"),
            ("p50 > 2000ms", "p50>2s"),
            ("silence>600s", "silence>10m"),
            ("capture_drops>0 over 1d", "capture_drops>0 over 1d"),
            ("drift", "drift"),
            ("drift over 168h", "drift over 7d"),
            ("accuracy < 0.90", "accuracy<0.9"),
            ("mae>1.5 over 1h", "mae>1.5 over 1h"),
        ],
    )
    def test_one_way_to_write_each(self, text: str, kept: str) -> None:
        assert str(parse_rule(text)) == kept
        assert parse_rule(kept) == parse_rule(text)
        assert ServiceSettings(alerts=(text,)).alerts == (kept,)

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("", "a signal, a sign and a bound"),
            ("errors", "`errors` cannot be watched"),
            ("error_rate", "more than a bound"),
            ("accuracy>0.9", "less than a bound"),
            ("mae<1", "more than a bound"),
            ("accuracy<90%", "is a number"),
            ("drift>2", "`drift` has no bound"),
            ("drift over 5m", "one hour at least"),
            ("accuracy<0.9 over 31d", "30 days at most"),
            ("moon>5", "`moon` cannot be watched: error_rate, p50"),
            ("error_rate<5%", "more than a bound"),
            (
                "error_rate>5",
                "in the rule `error_rate>5`: a share of failures is in percent: write 5%",
            ),
            ("error_rate>100%", "less than 100 percent"),
            ("p99>5", "a time has its unit"),
            ("p99>1.2.3s", "write a duration"),
            ("capture_drops>1.5", "a whole number"),
            ("silence>10s", "one minute at least"),
            ("silence>2d", "one day at most"),
            ("silence>10m over 5m", "has its time as its bound"),
            ("p99>1s over yesterday", "write a duration"),
            ("p99>1s over 1s", "one minute at least"),
        ],
    )
    def test_what_is_none(self, text: str, said: str) -> None:
        fields = {"name": "digits", "image": "digits", "settings": {"alerts": [text]}}
        with pytest.raises(InvalidRequest, match=r"settings\.alerts\.0") as refused:
            compose(DeployService, fields, "the service")
        assert said in refused.value.message
        assert "docs/guides/alerts.md" in str(refused.value.hint)

    def test_one_that_is_there_twice_is_kept_once(self) -> None:
        rules = ("drift", "error_rate>5%", " error_rate > 5.0%")
        assert ServiceSettings(alerts=rules).alerts == ("drift", "error_rate>5%")


class TestErrors:
    RULE = parse_rule("error_rate>5%")

    def test_sentence(self) -> None:
        found = find_errors(self.RULE, answered(s200=1176, s500=4, s502=60))
        assert found == (
            True,
            "5.2 % of 1,240 requests failed in the last 5 minutes, more than 5 %; mostly with "
            "status 502",
            pytest.approx(64 / 1240),
        )

    def test_exactly_the_bound_is_not_more(self) -> None:
        assert find_errors(self.RULE, answered(s200=95, s500=5)).is_wrong is False

    @pytest.mark.parametrize(
        ("ok", "failed", "wrong"), [(1, 1, None), (14, 4, None), (16, 4, True), (0, 5, True)]
    )
    def test_a_few_say_nothing(self, ok: int, failed: int, wrong: bool | None) -> None:
        assert find_errors(self.RULE, answered(s200=ok, s500=failed)).is_wrong is wrong

    def test_a_few_that_went_well_are_well(self) -> None:
        assert find_errors(self.RULE, answered(s200=1)).is_wrong is False

    def test_strangers_hide_no_failures(self) -> None:
        found = find_errors(self.RULE, answered(s200=90, s500=10, s401=100_000, s403=5))
        assert found.is_wrong
        assert found.sentence.startswith("10.0 % of 100 requests")

    def test_nothing(self) -> None:
        assert find_errors(self.RULE, {}) == (
            None,
            "there were no requests in the last 5 minutes",
            None,
        )


def test_slow_answers() -> None:
    rule = parse_rule("p99>0.5s over 15m")
    found = find_slow(rule, answered(took=2.5, s200=200))
    assert found.is_wrong
    assert found.sentence == (
        "99 % of 200 answers in the last 15 minutes took up to 2.48 s, more than 500 ms"
    )
    assert find_slow(rule, answered(took=2.5, s200=99)).is_wrong is None
    assert find_slow(rule, answered(took=0.1, s200=5)).is_wrong is False
    assert find_slow(rule, {}).is_wrong is None


class TestSilence:
    RULE = parse_rule("silence>10m")

    def find(self, minutes: list[tuple[int, Figures]], heard: int | None = 0) -> Finding:
        at = [(NOW - ago * MINUTE, figures) for ago, figures in minutes]
        return find_silence(self.RULE, at, None if heard is None else NOW - heard * MINUTE, NOW)

    def test_somebody_asks(self) -> None:
        found = self.find([(12, answered(s200=1)), (8, answered(s200=1)), (7, {})])
        assert (found.is_wrong, found.sentence) == (False, "the last request came 7 minutes ago")

    def test_nobody_asks(self) -> None:
        found = self.find([(12, answered(s200=1)), (5, {}), (2, answered(s401=9))])
        assert found.is_wrong
        assert found.sentence == "no request has come for more than 10 minutes"

    def test_of_one_minute(self) -> None:
        found = find_silence(parse_rule("silence>1m"), [], NOW, NOW)
        assert found.sentence == "no request has come for more than a minute"

    def test_nobody_is_there_to_be_asked(self) -> None:
        assert "its host has not been heard of since 11:40 UTC" in self.find([], 20).sentence
        assert "its host has not been heard of yet" in self.find([], None).sentence


def test_drops() -> None:
    rule = parse_rule("capture_drops>10")
    marks: tuple[Mark, ...] = ()
    found = [find_drops(rule, marks)]
    for minute, dropped in enumerate((100, 100, 108, 115, 115, 115, 115, 115, 115, 200)):
        marks = mark(rule, marks, Mark(NOW + minute * MINUTE, dropped))
        found.append(find_drops(rule, marks))
    assert [one.value for one in found] == [None, 0, 0, 8, 15, 15, 15, 15, 7, 0, 85]
    assert [one.is_wrong for one in found] == [None, *[False] * 3, *[True] * 4, False, False, True]
    assert len(marks) == 6
    assert "85 records of requests were dropped in the last 5 minutes" in found[-1].sentence
    fewer = mark(rule, marks, Mark(NOW + 11 * MINUTE, 3))
    assert find_drops(rule, fewer).value == 0


def test_marks_of_a_long_window_stay_few() -> None:
    rule = parse_rule("capture_drops>10 over 1d")
    marks: tuple[Mark, ...] = ()
    for look in range(3 * 8640):  # one in ten seconds, and one record is lost each time
        marks = mark(rule, marks, Mark(NOW + look * timedelta(seconds=10), look))
        assert len(marks) < 100
    lost = find_drops(rule, marks).value
    assert lost is not None
    assert 8640 <= lost <= 8640 * 62 / 60


def feature(name: str, verdict: str) -> dict[str, Any]:
    findings = [{"sign": "psi", "value": 0.31, "threshold": 0.2, "p": 0.001}]
    return {
        "name": name,
        "verdict": verdict,
        "findings": findings if verdict == "drifted" else [],
        "baseline": {"rows": 900, "missing": 0.0},
        "window": {"rows": 700, "missing": 0.0},
    }


class TestJudged:
    def drift(self, *verdicts: str) -> Finding:
        report = {
            "service": "digits",
            "model": "digits:3",
            "baseline": {"source": "file", "rows": 900},
            "window": {"source": "window", "rows": 700},
            "features": [feature(f"f{n}", verdict) for n, verdict in enumerate(verdicts)],
        }
        return find_drift(parse_rule("drift"), DriftReport.model_validate(report))

    def test_drift(self) -> None:
        found = self.drift("steady", *["drifted"] * 5, "unknown")
        assert (found.is_wrong, found.value) == (True, 5)
        assert found.sentence == (
            "5 of 7 features of digits:3 have drifted in the last day: `f1`: PSI 0.31; "
            "`f2`: PSI 0.31; `f3`: PSI 0.31; and 2 more"
        )
        assert self.drift("steady", "unknown").is_wrong is False
        assert self.drift("unknown").is_wrong is None
        assert self.drift().is_wrong is None

    def quality(self, rule: str, *deployments: tuple[int, float | None]) -> Finding:
        name = parse_rule(rule).signal.value
        measured = [
            {
                "deployment": None,
                "image": f"digits:{n}",
                "model": "digits",
                "version": n,
                "rows": 5000,
                "labelled": labelled,
                "unusable": 10,
                "figures": {name: value},
            }
            for n, (labelled, value) in enumerate(deployments, 1)
        ]
        found = {"service": "digits", "task": None, "measured": measured}
        images = {f"digits:{n}" for n in range(1, 9)} - {"digits:4"}
        return find_quality(parse_rule(rule), Quality.model_validate(found), images)

    def test_quality_of_the_worst(self) -> None:
        found = self.quality("accuracy<0.9", (1010, 0.95), (1210, 0.82), (59, 0.1), (500, None))
        assert found == (
            True,
            "accuracy of digits:2 is 0.82 over 1,200 answers of the last day, less than 0.9",
            0.82,
        )
        assert self.quality("accuracy<0.9", (1010, 0.9)).is_wrong is False
        assert self.quality("accuracy<0.9", (59, 0.1)).is_wrong is None
        assert self.quality("accuracy<0.9").is_wrong is None
        assert self.quality("accuracy<0.9", *[(90, 0.95)] * 3, (90, 0.1)).is_wrong is False
        found = self.quality("accuracy<0.9", *[(59, 0.1)] * 3, (90, 0.1))
        assert found == (
            False,
            "what has accuracy in the last day has no traffic now: digits:4",
            None,
        )
        found = self.quality("mae>1 over 7d", (100, 0.5), (100, 1.5))
        assert found.sentence == (
            "mae of digits:2 is 1.5 over 90 answers of the last 7 days, more than 1"
        )

    @pytest.mark.parametrize(
        ("rule", "task", "usable", "sentence"),
        [
            ("mae>1", "classification", 321, "the answers of the last day are classes"),
            ("r2<0.5", "classification", 321, "the answers of the last day are classes"),
            ("f1<0.5", "regression", 321, "the answers of the last day are numbers"),
            ("roc_auc<0.5", "classification", 321, "`roc_auc` cannot be told"),
            ("mae>1", "regression", 2, "too few truths .* to say; 319 cannot be compared"),
            ("mae>1", "regression", 321, "`mae` cannot be told"),
        ],
    )
    def test_what_is_not_measured_has_its_reason(
        self, rule: str, task: str, usable: int, sentence: str
    ) -> None:
        one = {"deployment": None, "image": "i:1", "model": "m", "version": 1, "rows": 400}
        counted = {"labelled": 321, "unusable": 321 - usable}
        found = {"service": "s", "task": task, "measured": [{**one, **counted}]}
        said = find_quality(parse_rule(rule), Quality.model_validate(found), {"i:1"})
        assert said.is_wrong is None
        assert re.match(sentence, said.sentence)

    @pytest.mark.parametrize("rule", ["accuracy<2", "f1<1.01", "r2<5"])
    def test_a_bound_that_nothing_reaches_is_refused(self, rule: str) -> None:
        with pytest.raises(ValueError, match="is at most 1: write a bound from 0 to 1"):
            parse_rule(rule)


class TestStanding:
    def run(self, findings: list[Finding], every: timedelta = MINUTE) -> list[Any]:
        alert: Alert | None = None
        seen = []
        for number, finding in enumerate(findings):
            alert, notice = step(alert, "digits", "error_rate>5%", finding, NOW + number * every)
            seen.append((alert.state, notice))
        return seen

    def test_fires_at_once_and_ends_when_it_was_calm(self) -> None:
        seen = self.run([UNKNOWN, FINE, WRONG, FINE, FINE, WRONG, *[FINE] * 6])
        states = [state.value for state, _ in seen]
        assert states == ["no data", "ok", *["firing"] * 9, "ok"]
        assert [notice for _, notice in seen if notice] == [Notice.FIRING, Notice.RESOLVED]

    def test_goes_on_while_nobody_can_say(self) -> None:
        seen = self.run([WRONG, *[UNKNOWN] * 500])
        assert {state for state, _ in seen} == {AlertState.FIRING}
        assert [notice for _, notice in seen if notice] == [Notice.FIRING]

    def test_what_is_old_says_when_it_was_found(self) -> None:
        alert, _ = step(None, "digits", "p99>1s", WRONG, NOW)
        for finding in (UNKNOWN, FINE):
            alert, _ = step(alert, "digits", "p99>1s", finding, alert.checked_at + MINUTE)
        assert (alert.sentence, alert.found_at) == ("bad", NOW)
        assert alert.checked_at == NOW + 2 * MINUTE
        alert, _ = step(alert, "digits", "p99>1s", WRONG, NOW + 3 * MINUTE)
        assert alert.found_at == NOW + 3 * MINUTE

    def test_tells_once_an_hour(self) -> None:
        seen = self.run([WRONG] * 181)
        assert [n for n, (_, notice) in enumerate(seen) if notice] == [0, 60, 120, 180]

    def test_what_is_wrong_again_after_its_end_is_told_at_once(self) -> None:
        seen = self.run([WRONG, *[FINE] * 6, WRONG, *[FINE] * 70])
        told = [(n, notice) for n, (_, notice) in enumerate(seen) if notice]
        assert told == [
            (0, Notice.FIRING),
            (6, Notice.RESOLVED),
            (7, Notice.FIRING),
            (66, Notice.RESOLVED),  # it was so since 13, and waits for the hour
        ]

    def test_an_end_that_waits_is_told_of_a_rule_that_is_taken_away(self) -> None:
        alert: Alert | None = None
        for n, finding in enumerate([WRONG, *[FINE] * 6, WRONG, *[FINE] * 10]):
            alert, _ = step(alert, "digits", "p99>1s", finding, NOW + n * MINUTE)
        assert alert is not None
        assert (alert.state, alert.told) == (AlertState.OK, True)
        assert leave(alert, NOW + 18 * MINUTE)[1] is Notice.RESOLVED

    def test_who_cannot_tell_tries_again_and_does_not_tell_the_end(self) -> None:
        alert, notice = step(None, "digits", "p99>1s", WRONG, NOW)
        assert notice is Notice.FIRING
        alert = untold(None, alert)
        assert step(alert, "digits", "p99>1s", WRONG, NOW + MINUTE)[1] is Notice.FIRING
        assert end(alert, "over", NOW + MINUTE)[1] is None

    def test_what_is_told(self) -> None:
        alert, _ = step(None, "digits", "p99>1s", Finding(True, "it is slow", 2.0), NOW)
        message = compose_message(uuid4(), "default", alert, Notice.FIRING)
        assert message.text == "digits: it is slow (p99>1s)"
        later = alert.model_copy(update={"checked_at": NOW + REMIND})
        again = compose_message(uuid4(), "default", later, Notice.FIRING)
        assert again.text == "digits: it is slow (p99>1s, since 2026-03-01 12:00 UTC)"
        ended, _ = end(later, "it is fast", NOW + REMIND)
        over = compose_message(uuid4(), "default", ended, Notice.RESOLVED)
        assert over.text == (
            "digits: p99>1s is over: it is fast (it fired since 2026-03-01 12:00 UTC)"
        )

    @given(
        st.lists(
            st.tuples(st.sampled_from([WRONG, FINE, UNKNOWN]), st.integers(1, 1200), st.booleans()),
            max_size=200,
        )
    )
    def test_nothing_makes_it_flap(self, looks: list[tuple[Finding, int, bool]]) -> None:
        alert: Alert | None = None
        now = NOW
        told: list[tuple[datetime, Notice]] = []
        fired: datetime | None = None
        for finding, pause, can_tell in looks:
            now += timedelta(seconds=pause)
            before = alert
            alert, notice = step(before, "digits", "p99>1s", finding, now)
            if alert.state is AlertState.FIRING and fired is None:
                assert finding is WRONG
                fired = now
            elif alert.state is not AlertState.FIRING and fired is not None:
                assert now - fired >= CALM
                fired = None
            if notice is Notice.FIRING and not can_tell:
                alert, notice = untold(before, alert), None
            if notice:
                told.append((now, notice))
            last = told[-1][1] if told else None
            assert alert.told is (last is Notice.FIRING)
            if alert.state is AlertState.FIRING and can_tell and not alert.calm_since:
                assert last is Notice.FIRING or finding is UNKNOWN
        over = [at for at, notice in told if notice is Notice.RESOLVED]
        assert all(b - a >= REMIND for a, b in pairwise(over))
        firing = [(at, notice) for at, notice in told]
        assert all(
            b - a >= REMIND
            for (a, first), (b, second) in pairwise(firing)
            if first is second is Notice.FIRING
        )
        times = [at for at, _ in told]
        assert all(d - a >= REMIND for a, d in zip(times, times[3:], strict=False))
        notices = [notice for _, notice in told]
        assert notices[:1] != [Notice.RESOLVED]
        for first, second in pairwise(notices):
            assert (first, second) != (Notice.RESOLVED, Notice.RESOLVED)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (1, "second"),
        (45, "45 seconds"),
        (60, "minute"),
        (90, "90 seconds"),
        (300, "5 minutes"),
        (700, "11 minutes"),
        (3600, "hour"),
        (86400, "day"),
    ],
)
def test_times_in_words(seconds: float, words: str) -> None:
    assert in_words(timedelta(seconds=seconds)) == words
