from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from pydantic import TypeAdapter, ValidationError
from tests.replays import DIGEST, MARK, SERVICE, recorded, report, some
from tests.segments import NOON

from modelyard.domain.difference import NO_ANSWER, Answer, Kind, Tolerance
from modelyard.domain.replay import (
    TIME_BOUNDS,
    Findings,
    Part,
    Replay,
    Unfit,
    percent_text,
    why_no_proof,
)


class TestRecorded:
    @pytest.mark.parametrize(
        ("changes", "why"),
        [
            ({}, None),
            ({"input": None, "input_size": 0}, Unfit.NONE),
            ({"input": None, "input_size": 2 << 20}, Unfit.CUT),
            ({"input": None, "withheld": "inputs,outputs"}, Unfit.WITHHELD),
            ({"withheld": "outputs"}, None),
            ({"input": b'{"a":1}', "input_size": 20}, Unfit.ALTERED),
            ({"input": b'{"a":"hmac:0123"}', "input_size": 17}, Unfit.ALTERED),
        ],
    )
    def test_why_it_is_not_sent(self, changes: dict[str, Any], why: Unfit | None) -> None:
        assert recorded(**changes).why_not_sent(altered=False) == why

    def test_an_altered_one_is_sent_when_that_is_wanted(self) -> None:
        altered = recorded(input=b'{"a":1}', input_size=20)
        assert altered.why_not_sent(altered=True) is None

    @pytest.mark.parametrize(
        ("changes", "why"),
        [
            ({}, None),
            ({"status": 503, "code": "replica_lost"}, Unfit.GATEWAY),
            ({"status": 422, "output": None}, None),
            ({"output": None, "output_size": 9}, Unfit.CUT),
            ({"output": None, "withheld": "outputs"}, Unfit.WITHHELD),
            ({"output_size": 9}, Unfit.ALTERED),
        ],
    )
    def test_why_it_is_not_compared(self, changes: dict[str, Any], why: Unfit | None) -> None:
        assert recorded(**changes).why_not_compared() == why


class TestFindings:
    def test_each_request_is_counted_once(self) -> None:
        findings = some(3, 2)
        findings.leave_out(recorded(), Unfit.CUT)
        findings.add(recorded(code="replica_lost", status=503), Answer(200, b"1"), 0.1)
        findings.add(recorded(status=500), Answer(200, b"1"), 0.1)
        findings.add(recorded(status=500), Answer(500, b"worse"), 0.1)
        findings.add(recorded(), Answer(NO_ANSWER, b"broken"), 0.1)
        findings.add(recorded(), Answer(200, b'{"a": 1}'), 0.1)
        found = findings.found()
        assert (found.requests, found.replayed, found.compared) == (11, 10, 9)
        assert (found.equal, found.repaired, found.different) == (4, 1, 4)
        assert found.left_out == {Unfit.CUT: 1}
        assert found.uncompared == {Unfit.GATEWAY: 1}
        assert found.kinds == {Kind.VALUES: 2, Kind.STATUS: 1, Kind.SHAPE: 1}
        assert found.errors == 2
        assert [(f.status, f.text, f.count) for f in found.failures] == [
            (500, "worse", 1),
            (NO_ANSWER, "broken", 1),
        ]
        assert [one.difference.kind for one in found.largest] == [
            Kind.STATUS,
            Kind.SHAPE,
            Kind.VALUES,
            Kind.VALUES,
        ]

    @pytest.mark.parametrize(
        "changes",
        [
            {"output": None, "output_size": 9},
            {"output": None, "withheld": "outputs"},
            {"output_size": 9},
        ],
    )
    @pytest.mark.parametrize("status", [NO_ANSWER, 422, 500])
    def test_one_that_fails_now_differs_whatever_is_kept_of_its_answer(
        self, changes: dict[str, Any], status: int
    ) -> None:
        findings = some(9, 0)
        findings.add(recorded(**changes), Answer(200, b"[7]"), 0.1)
        findings.add(recorded(**changes), Answer(status, b"no"), 0.1)
        found = findings.found()
        assert (sum(found.uncompared.values()), found.compared) == (1, 10)
        assert (found.different, found.kinds) == (1, {Kind.STATUS: 1})
        assert report(findings, max_diff=5.0).passed is False

    def test_the_largest_are_kept_of_many(self) -> None:
        found = some(0, 200).found()
        assert found.different == 200
        assert [one.prediction_id for one in found.largest] == [
            f"d{number}" for number in range(199, 149, -1)
        ]

    def test_failures_of_many_kinds_are_bounded(self) -> None:
        findings = Findings(Tolerance())
        for number in range(100):
            findings.add(recorded(), Answer(500, b"\x1b[31m %d\n" % number), 0.1)
        failures = findings.found().failures
        assert len(failures) == 21
        assert (failures[0].text, failures[0].count) == ("others", 80)
        assert all(failure.text.isprintable() for failure in failures)

    def test_times_are_of_requests_that_both_have_answered(self) -> None:
        findings = some(99, 0)
        findings.add(recorded(seconds=1.0), Answer(200, b"[0.5]"), 0.7)
        findings.add(recorded(seconds=9.0), Answer(500, b""), 9.0)
        found = findings.found()
        assert found.before is not None
        assert found.after is not None
        assert (found.before.count, found.before.p50, found.before.longest) == (100, 0.004, 1.0)
        assert (found.after.p95, found.after.longest) == (0.001, 0.7)
        assert sum(found.after.histogram) == 100
        assert found.after.histogram[TIME_BOUNDS.index(0.001)] == 99
        assert found.after.histogram[TIME_BOUNDS.index(1)] == 1


class TestVerdict:
    def test_it_passes_up_to_the_share_that_may_differ(self) -> None:
        assert report(some(3, 1)).passed is True
        assert report(some(2, 1)).passed is False
        assert report(some(2, 1), max_diff=None).passed is None
        assert report(some(3, 1)).verdict == (
            "1 of 4 requests are answered otherwise by iris:4, 25 %; 25 % may be."
        )

    def test_nothing_compared_is_no_pass(self) -> None:
        findings = Findings(Tolerance())
        findings.leave_out(recorded(), Unfit.WITHHELD)
        assert report(findings, max_diff=100.0).passed is False
        assert report(findings, max_diff=None).passed is False
        assert report(findings).verdict == (
            "None of 1 requests could be compared: not sent (withheld 1)."
        )
        assert report(Findings(Tolerance())).verdict == "There is no request to compare."

    def test_too_few_compared_is_no_pass(self) -> None:
        findings = some(3, 0)
        for _ in range(3):
            findings.leave_out(recorded(), Unfit.CUT)
        assert report(findings).passed is True
        findings.leave_out(recorded(), Unfit.CUT)
        too_few = report(findings, max_diff=100.0)
        assert too_few.passed is False
        assert too_few.verdict.endswith(
            "Only 3 of 7 requests could be compared, and 50 % have to be: not sent (cut 4)."
        )
        assert "choose others" in (too_few.way_out or "")
        assert report(findings, max_diff=None).passed is None

    def test_a_way_out_is_named_where_a_rule_has_altered_inputs(self) -> None:
        findings = Findings(Tolerance())
        assert report(findings).way_out is None
        findings.leave_out(recorded(), Unfit.ALTERED)
        assert "--altered" in (report(findings).way_out or "")

    def test_it_survives_json(self) -> None:
        whole = report(some(3, 1))
        assert Replay.model_validate_json(whole.model_dump_json()) == whole

    def test_percent_is_never_nothing_of_something(self) -> None:
        assert percent_text(100 / 30_000) == "0.0033 %"
        assert percent_text(0) == "0 %"
        assert percent_text(99.999) == "100 %"


class TestProof:
    @pytest.mark.parametrize(
        ("changes", "why"),
        [
            ({}, None),
            ({"service_id": UUID(int=9)}, "is of service"),
            ({"digest": f"sha256:{'1' * 64}"}, "is of image iris:4"),
            ({"settings_mark": "other"}, "other settings"),
            ({"ended_at": NOON - timedelta(hours=25)}, "more than 24 hours ago"),
            ({"max_diff": None}, "was not asked"),
            ({"max_diff": 1.0}, "did not pass: 1 of 4"),
        ],
    )
    def test_what_lets_an_update_through(self, changes: dict[str, Any], why: str | None) -> None:
        found = why_no_proof(
            report(some(3, 1), **changes),
            service_id=SERVICE,
            digest=DIGEST,
            settings_mark=MARK,
            now=NOON,
        )
        assert found is None if why is None else why in (found or "")


def test_parts_are_percent() -> None:
    part = TypeAdapter(Part)
    assert [part.validate_python(text) for text in ("2%", "0.5 %", 0, "100")] == [2, 0.5, 0, 100]
    for wrong in ("101%", "-1%", "nan", "much"):
        with pytest.raises(ValidationError):
            part.validate_python(wrong)
