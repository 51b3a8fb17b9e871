"""Rows that have come in are sketched once, and compared with a baseline."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import duckdb
import numpy as np
import pytest
from sqlalchemy import update
from tests.factories import WORKSPACE, add_image, add_model, add_service
from tests.integration.control.home import NOON, OWNER, Home

from modelyard.control.drift import Window
from modelyard.domain.captured import Segment
from modelyard.domain.drift import Verdict
from modelyard.errors import InvalidRequest, NotFound, Unavailable
from modelyard.monitoring.sketches import Sketch, merged, pack
from modelyard.schemas import ForgetCaptured
from modelyard.store.rows import CaptureSketchRow
from modelyard.store.sketches import NewPart, Origin

HOUR = timedelta(hours=1)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.below(tmp_path)


def unwritable(segment: Segment) -> None:
    raise Unavailable(f"`{segment.name}` cannot be written")


def sketched(rows: int) -> Sketch:
    sketch = Sketch()
    sketch.rows = rows
    return sketch


def day(number: int) -> Window:
    begins = NOON.replace(hour=0) + timedelta(days=number)
    return Window(begins, begins + timedelta(days=1))


def test_a_window_is_compared_with_the_first_day(home: Home) -> None:
    for hour in range(3):
        home.send(f"a{hour}", NOON + hour * HOUR, 700)
    home.send("b", NOON + timedelta(days=1, hours=2), 900, "random() + 0.3")
    assert home.sketch() == 4
    report = home.drift.report(OWNER, "people", day(1))
    assert (report.model, report.waiting) == ("ages:1", 0)
    assert (report.baseline.rows, report.window.rows) == (2100, 900)
    assert report.drifted == ("input_age",)
    age, word, output = report.features
    assert [one.name for one in report.features] == ["input_age", "input_word", "output"]
    assert age.window.mean == pytest.approx(0.8, abs=0.05)
    assert word.window.missing == pytest.approx(0.2)
    assert {word.verdict, output.verdict} == {Verdict.STEADY}

    same = home.drift.report(OWNER, "people", Window(NOON, NOON + 3 * HOUR), day(1))
    assert (same.baseline.rows, same.window.rows) == (900, 2100)
    one_hour = home.drift.report(OWNER, "people", Window(NOON + HOUR, NOON + 2 * HOUR), day(1))
    assert one_hour.window.rows == 700


def test_a_file_counts_once_whenever_the_server_was_killed(home: Home) -> None:
    segment = home.send("a", NOON, 600)
    part = NewPart(NOON, 600, pack(sketched(600)))
    with home.database.write() as tx:
        assert tx.sketches.add([segment], [part], lambda parts: parts[0])
    with home.database.write() as tx:  # as one that was at it when another took over
        assert not tx.sketches.add([segment], [part], lambda parts: parts[0])
        assert tx.sketches.versions(WORKSPACE, "people", *day(0)) == {("ages", 1): 600}
    assert home.sketch() == 0


def test_what_has_changed_meanwhile_is_not_taken(home: Home) -> None:
    segment = home.send("a", NOON, 600)
    other = segment.model_copy(update={"digest": f"sha256:{'0' * 64}"})
    with home.database.write() as tx:
        assert not tx.sketches.add([other], [], lambda parts: parts[0])
        assert tx.sketches.pending(WORKSPACE) == 1


def test_files_that_are_joined_count_as_before(home: Home) -> None:
    one, other = home.send("a", NOON, 600), home.send("b", NOON, 600)
    joined = one.model_copy(update={"name": "joined", "rows": 1200})
    part = NewPart(NOON, 600, pack(sketched(600)))
    digests = {one.name: one.digest, other.name: other.digest}
    with home.database.write() as tx:
        assert tx.sketches.add([one], [part], lambda parts: parts[0])
        assert not tx.captured.join(WORKSPACE, joined, digests)  # the other one is not in it yet
        assert tx.sketches.add([other], [part], lambda parts: parts[0])
        assert tx.captured.join(WORKSPACE, joined, digests)
        assert tx.sketches.pending(WORKSPACE) == 0
        assert tx.sketches.versions(WORKSPACE, "people", *day(0)) == {("ages", 1): 1200}


def test_files_are_joined_with_those_that_are_sketched_as_they_are(home: Home) -> None:
    later = NOON + timedelta(days=2)
    for name in ("a", "b"):
        home.send(name, NOON, 600)
    home.sketch()
    home.send("late", NOON, 600)  # of the same day, and in no sketch yet
    assert home.rewriting.join(WORKSPACE, later) == 2
    assert home.rewriting.join(WORKSPACE, later) == 0
    assert home.sketch() == 1
    assert home.rewriting.join(WORKSPACE, later) == 2
    with home.database.read() as tx:
        assert len(tx.captured.segments(WORKSPACE)) == 1
        assert tx.sketches.pending(WORKSPACE) == 0
        assert tx.sketches.versions(WORKSPACE, "people", *day(0)) == {("ages", 1): 1800}


def test_what_is_forgotten_goes_from_the_sketches(home: Home) -> None:
    for name in ("a", "b"):
        home.send(name, NOON, 600)
    home.send("c", NOON + timedelta(days=1), 600)
    home.sketch()
    done = home.rewriting.forget(OWNER, "people", ForgetCaptured(field="customer", value="b"))
    assert done.requests == 1
    with pytest.raises(NotFound, match="nothing to compare"):
        home.drift.report(OWNER, "people", day(1), day(0))
    assert home.sketch() > 0
    assert home.drift.report(OWNER, "people", day(1), day(0)).baseline.rows == 1199


def test_a_file_of_before_a_forgetting_is_in_no_sketch(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = home.send("a", NOON, 600)
    with monkeypatch.context() as patched:
        patched.setattr(home.files, "replace", unwritable)
        with pytest.raises(Unavailable):
            home.rewriting.forget(OWNER, "people", ForgetCaptured(field="customer", value="a"))
    with home.database.read() as tx:
        assert tx.captured.get(WORKSPACE, "a").digest != old.digest
    assert home.sketch() == 0  # the old file is still there
    home.rewriting.recover(WORKSPACE)
    assert home.sketch() == 1
    with home.database.read() as tx:
        assert tx.sketches.versions(WORKSPACE, "people", *day(0)) == {("ages", 1): 599}


def test_a_file_that_somebody_took_away_holds_up_no_other(home: Home) -> None:
    gone = home.send("gone", NOON, 300)
    home.send("b", NOON, 300)
    home.files.path(gone).unlink()
    assert home.sketch() == 2
    with home.database.read() as tx:
        assert tx.sketches.pending(WORKSPACE) == 0
        assert tx.sketches.versions(WORKSPACE, "people", *day(0)) == {("ages", 1): 300}


def test_a_file_that_cannot_be_read_holds_up_no_other(home: Home) -> None:
    home.send("a", NOON, 300)
    home.send("bad", NOON, 300, damaged=True)
    home.send("b", NOON + HOUR, 300)
    assert home.sketch() == 3
    with home.database.read() as tx:
        assert tx.sketches.pending(WORKSPACE) == 0
    found = home.drift.report(OWNER, "people", Window(NOON + HOUR, NOON + 2 * HOUR))
    assert (found.baseline.rows, found.window.rows) == (300, 300)


def test_a_damaged_sketch_is_made_anew(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    home.send("a", NOON, 300)
    home.sketch()
    with home.database.write() as tx:
        tx.sketches._session.execute(update(CaptureSketchRow).values(sketch=b"damaged"))
    home.send("b", NOON, 200)
    home.send("c", NOON + timedelta(days=1), 100)
    home.sketch()
    assert "made anew" in caplog.text
    with home.database.read() as tx:
        assert tx.sketches.pending(WORKSPACE) == 0
        assert tx.sketches.versions(WORKSPACE, "people", *day(0)) == {("ages", 1): 500}
        assert tx.sketches.versions(WORKSPACE, "people", *day(1)) == {("ages", 1): 100}
        origin = Origin(WORKSPACE, "people", "ages", 1)
        assert merged(tx.sketches.window(origin, *day(0))).rows == 500


def test_sketches_of_a_day_go_with_its_last_file(home: Home) -> None:
    sent = [
        home.send(name, NOON + timedelta(days=later), 100)
        for name, later in zip("abc", (0, 0, 1), strict=True)
    ]
    home.sketch()
    for kept, left in ((sent[1:], {("ages", 1): 200}), (sent[2:], {})):
        room = sum(one.size for one in kept)
        assert home.rewriting.expire(WORKSPACE, NOON + timedelta(days=1), days=0, most=room) == 1
        with home.database.read() as tx:
            assert tx.sketches.versions(WORKSPACE, "people", *day(0)) == left
            assert tx.sketches.versions(WORKSPACE, "people", *day(1)) == {("ages", 1): 100}


def test_old_sketches_go_with_the_records(home: Home) -> None:
    home.send("a", NOON, 100)
    home.send("b", NOON + timedelta(days=5), 100)
    home.sketch()
    home.rewriting.expire(WORKSPACE, NOON + timedelta(days=6), days=2, most=0)
    with pytest.raises(NotFound, match="no captured rows"):
        home.drift.report(OWNER, "people", day(0))
    with pytest.raises(NotFound, match="nothing to compare"):
        home.drift.report(OWNER, "people", day(5))


def test_what_cannot_be_answered_is_refused(home: Home) -> None:
    with pytest.raises(NotFound, match="`people`"):
        home.drift.report(OWNER, "people", day(0))
    with home.database.write() as tx:
        add_service(tx, "people")
    with pytest.raises(NotFound) as refused:
        home.drift.report(OWNER, "people", day(0))
    assert "update people --capture 100%" in refused.value.hint
    home.send("a", NOON, 100)
    with pytest.raises(Unavailable, match="are just being looked at"):
        home.drift.report(OWNER, "people", day(0))
    home.sketch()
    with pytest.raises(NotFound, match=r"no baseline was set.*before the window"):
        home.drift.report(OWNER, "people", day(0))
    with pytest.raises(NotFound, match="`ages:2`"):
        home.drift.report(OWNER, "people", day(0), model="ages:2")
    with pytest.raises(InvalidRequest, match="no version"):
        home.drift.report(OWNER, "people", day(0), model="ages")
    with pytest.raises(InvalidRequest, match="is not after"):
        home.drift.report(OWNER, "people", Window(NOON, NOON))


@pytest.fixture
def people(home: Home) -> None:
    """A service of that name runs."""
    with home.database.write() as tx:
        add_service(tx, "people", add_image(tx, models=[add_model(tx, "ages")]))


@pytest.mark.usefixtures("people")
def test_a_baseline_from_a_table(home: Home) -> None:
    table = home.folder / "train"
    relation = duckdb.sql(
        "SELECT random() AS age, 'w' || (i % 3) AS word, (i % 2)::BIGINT AS label, "
        "'2026-01-01'::DATE AS day FROM range(500) t(i)"
    )
    relation.write_csv(str(table))
    told = home.drift.set_baseline(OWNER, "people", table, ".csv", "label", "ages:1")
    assert (told.rows, told.model) == (500, "ages:1")
    assert set(told.features) == {"input_age", "input_word", "output"}
    assert "no rows of `ages:1` are captured yet" in told.warning
    home.send("a", NOON, 700)
    home.sketch()
    report = home.drift.report(OWNER, "people", day(0))
    assert (report.baseline.source, report.baseline.rows) == ("file", 500)
    assert report.drifted == ("input_word",)  # of which a fifth is missing


@pytest.mark.usefixtures("people")
def test_what_is_no_table_is_refused(home: Home) -> None:
    table = home.folder / "table"
    table.write_bytes(b"PAR1" + bytes(40) + b"PAR1")
    with pytest.raises(InvalidRequest, match="baseline cannot be read"):
        home.drift.set_baseline(OWNER, "people", table, ".parquet", "label")
    with pytest.raises(InvalidRequest, match="none that can be read"):
        home.drift.set_baseline(OWNER, "people", table, ".pickle")
    with pytest.raises(NotFound):
        home.drift.set_baseline(OWNER, "nobody", table, ".parquet")


@pytest.mark.usefixtures("people")
def test_columns_of_a_baseline_are_those_of_captured_rows(home: Home) -> None:
    table = home.folder / "train"
    duckdb.sql(
        "SELECT random() AS ages, i % 2 AS output_b, (i % 2)::BIGINT AS label FROM range(500) t(i)"
    ).write_csv(str(table))
    home.drift.set_baseline(OWNER, "people", table, ".csv", "label")
    home.send("a", NOON, 700)
    home.sketch()
    report = home.drift.report(OWNER, "people", day(0))
    assert report.drifted == ()
    assert report.not_in_baseline == ("input_age", "input_word")
    ages = report.features[0]
    assert (ages.name, ages.verdict) == ("input_ages", Verdict.UNKNOWN)
    assert "never seen in traffic" in ages.note
    with pytest.raises(InvalidRequest, match=r"`input_ages`, `output_b`: they have input_age, "):
        home.drift.set_baseline(OWNER, "people", table, ".csv", "label")
    for model in ("ages:9", "other:1"):
        with pytest.raises(NotFound, match=f"`{model}`") as refused:
            home.drift.set_baseline(OWNER, "people", table, ".csv", "label", model)
        assert refused.value.hint == "it has `ages:1`"


@pytest.mark.usefixtures("people")
def test_an_answer_is_the_field_of_its_name(home: Home) -> None:
    table = home.folder / "train"
    duckdb.sql("SELECT 1 AS label, random() AS age FROM range(500) t(i)").write_csv(str(table))
    captured = sketched(20)
    for name in ("output_label", "input_age"):
        feature = captured.feature(name)
        assert feature is not None
        feature.values.add([("1", 20)])
    with home.database.write() as tx:
        part = NewPart(NOON, 20, pack(captured))
        tx.sketches.put(Origin(WORKSPACE, "people", "ages", 1), part, lambda parts: parts[0])
    told = home.drift.set_baseline(OWNER, "people", table, ".csv", "label")
    assert (set(told.features), told.warning) == ({"output_label", "input_age"}, "")
    told = home.drift.set_baseline(OWNER, "people", table, ".csv")
    assert told.warning.startswith("`input_label` is in none of the 20 captured rows, which have ")


@pytest.mark.usefixtures("people")
@pytest.mark.parametrize("is_field", [True, False])
def test_what_an_answer_is_called_is_told_by_rows_that_come_later(
    home: Home, is_field: bool
) -> None:
    table = home.folder / "train"
    duckdb.sql("SELECT i % 2 AS label FROM range(500) t(i)").write_csv(str(table))
    home.drift.set_baseline(OWNER, "people", table, ".csv", "label")
    name = "output_label" if is_field else "output"
    for answered, begins in ((name, day(0).since), ("input_x", day(1).since)):
        captured = sketched(60)
        for one in ("input_x", answered):
            feature = captured.feature(one)
            assert feature is not None
            feature.numbers.add(np.arange(60) % 2.0)
        with home.database.write() as tx:
            part = NewPart(begins, 60, pack(captured))
            tx.sketches.put(Origin(WORKSPACE, "people", "ages", 1), part, lambda parts: parts[0])
    report = home.drift.report(OWNER, "people", day(0))
    assert [(one.name, one.verdict) for one in report.features] == [(name, Verdict.STEADY)]
    assert report.not_in_baseline == ("input_x",)
    report = home.drift.report(OWNER, "people", day(1))  # nothing was answered
    assert report.drifted == (name,)
