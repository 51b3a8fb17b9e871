"""What drift says of a service becomes a finding of its alert."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from tests.factories import add_service
from tests.integration.control.home import NOON, Home

from modelyard.control.judging import DriftJudge
from modelyard.domain.alert_rules import parse_rule


def test_drift_of_real_rows(tmp_path: Path) -> None:
    home = Home.below(tmp_path)
    with home.database.write() as tx:
        service = add_service(tx, "people")
    home.send("first", NOON, 600)
    home.send("second", NOON + timedelta(hours=30), 600)
    home.send("third", NOON + timedelta(hours=60), 600, age="10 + random()")
    home.sketch()
    judge, rule = DriftJudge(home.drift), parse_rule("drift over 12h")
    steady = judge.find(service, rule, NOON + timedelta(hours=32))
    assert (steady.is_wrong, steady.value) == (False, 0)
    drifted = judge.find(service, rule, NOON + timedelta(hours=62))
    assert (drifted.is_wrong, drifted.value) == (True, 1)
    assert "have drifted in the last 12 hours" in drifted.sentence
    assert "age`" in drifted.sentence
