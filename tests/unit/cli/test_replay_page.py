from __future__ import annotations

from xml.etree import ElementTree

from tests.replays import recorded, report, some

from modelyard.cli.replay_page import as_html, as_junit
from modelyard.domain.difference import Answer, Tolerance
from modelyard.domain.quality import ComparedQuality, Measured, Task
from modelyard.domain.replay import Findings, Unfit

EVIL = '</table><script>alert("x")</script>'


def test_the_page_shows_everything_and_trusts_nothing() -> None:
    findings = some(3, 1)
    findings.leave_out(recorded(), Unfit.WITHHELD)
    findings.add(recorded(EVIL), Answer(200, b'["%s"]' % EVIL.replace('"', "'").encode()), 0.1)
    findings.add(recorded("f"), Answer(500, EVIL.encode()), 0.1)
    page = as_html(report(findings))
    assert page.count("<svg ") == 2
    assert "3 of 6 requests are answered otherwise by iris:4, 50 %; 25 % may be." in page
    assert "cannot be sent: withheld 1" in page
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")


def test_the_page_has_the_quality_of_both_where_there_is_one() -> None:
    numbers = {"accuracy": 0.75, "f1": 0.5}
    before = Measured(rows=9, labelled=8, figures=numbers, accuracy_interval=(0.4, 0.93))
    after = Measured(rows=9, labelled=8, unusable=8)
    quality = ComparedQuality(task=Task.CLASSIFICATION, before=before, after=after)
    whole = report(some(1, 0))

    def page(**changes: object) -> str:
        found = whole.found.model_copy(update=changes)
        return as_html(whole.model_copy(update={"found": found}))

    assert "<td>before</td><td>8</td><td>0</td><td>0.75</td><td>0.4-0.93</td>" in page(
        quality=quality
    )
    assert "&lt;/table&gt;" in page(unmeasured=EVIL)
    assert "Quality" not in page()


def test_a_page_of_nothing_is_a_page() -> None:
    page = as_html(report(Findings(Tolerance())))
    assert "There are none." in page
    assert "No request was answered by both." in page


def test_a_replay_that_compares_nothing_is_an_error_that_names_the_way_out() -> None:
    findings = Findings(Tolerance())
    findings.leave_out(recorded(), Unfit.ALTERED)
    nothing = report(findings, max_diff=None)
    suite = ElementTree.fromstring(as_junit(nothing))
    assert (suite.get("failures"), suite.get("errors")) == ("0", "1")
    error = suite.find("testcase/error")
    assert error is not None
    assert "altered 1" in (error.get("message") or "")
    assert "--altered" in (error.text or "")
    assert "Not passed: None of 1" in as_html(nothing)


def test_a_replay_that_compares_too_few_is_an_error() -> None:
    findings = some(1, 0)
    for _ in range(2):
        findings.leave_out(recorded(), Unfit.CUT)
    suite = ElementTree.fromstring(as_junit(report(findings)))
    assert (suite.get("failures"), suite.get("errors")) == ("0", "1")
    error = suite.find("testcase/error")
    assert error is not None
    assert "Only 1 of 3 requests" in (error.get("message") or "")
    assert "choose others" in (error.text or "")


def test_junit_fails_when_the_replay_does() -> None:
    findings = some(1, 1)
    findings.add(recorded("bell"), Answer(200, b'["\\u0007\\ud800"]'), 0.1)
    suite = ElementTree.fromstring(as_junit(report(findings)))
    assert (suite.get("tests"), suite.get("failures")) == ("1", "1")
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert "2 of 3 requests" in (failure.get("message") or "")
    assert "d0 values [0]: 0.5 before, 1 now" in (failure.text or "")
    passed = ElementTree.fromstring(as_junit(report(some(1, 0))))
    assert passed.get("failures") == "0"
    assert passed.find("testcase/system-out") is not None
