from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from bench._streams import PLANTED, rows, sketched

from modelyard.domain.drift import FALSE_ALARMS, FeatureDrift, Sign, Verdict, in_words
from modelyard.monitoring.drift import compare
from modelyard.monitoring.sketches import CONCEALED, Sketch

_SEEDS = 100


def _report(seed: int, before: int, now: int, planted: str = "") -> tuple[FeatureDrift, ...]:
    random = np.random.default_rng(seed)
    baseline = sketched(rows(random, before), parts=4)
    window = sketched(rows(random, now, planted), parts=4)
    return compare(baseline, window, sorted(baseline.features))


def _named(report: tuple[FeatureDrift, ...]) -> dict[str, set[Sign]]:
    return {one.name: {f.sign for f in one.findings} for one in report if one.findings}


def test_nothing_is_named_where_nothing_has_changed() -> None:
    sizes = ((100, 60), (1500, 300), (2000, 2000))
    alarms = [
        (seed, size, named)
        for size in sizes
        for seed in range(_SEEDS)
        if (named := _named(_report(seed, *size)))
    ]
    assert len(alarms) <= 2 * FALSE_ALARMS * _SEEDS * len(sizes), alarms


@pytest.mark.parametrize("planted", PLANTED)
def test_planted_drift_is_found_and_named_and_nothing_else(planted: str) -> None:
    for seed in range(10):
        named = _named(_report(1000 + seed, 2000, 2000, planted))
        assert set(named) == {PLANTED[planted]}, seed
        if planted in ("missing", "range", "new"):
            assert Sign(planted) in named[PLANTED[planted]]


def test_many_rows_make_no_drift_of_a_difference_that_matters_to_nobody() -> None:
    random = np.random.default_rng(3)
    before, now = Sketch(), Sketch()
    for sketch, mean in ((before, 0.0), (now, 0.05)):
        feature = sketch.feature("x")
        assert feature is not None
        feature.numbers.add(random.normal(mean, size=400_000))
        sketch.rows = 400_000
    (found,) = compare(before, now, ["x"])
    assert found.verdict is Verdict.STEADY
    assert found.ks == pytest.approx(0.02, abs=0.025)


def test_figures_are_those_of_the_rows() -> None:
    random = np.random.default_rng(4)
    before, now = rows(random, 5000), rows(random, 5000, "shift")
    now["country"][:500] = "xx"
    report = compare(sketched(before), sketched(now), ["age", "country", "income"])
    age, country, income = report
    assert age.window.mean == pytest.approx(now["age"].mean())
    assert age.wasserstein == pytest.approx(0.5, abs=0.05)
    assert age.ks == pytest.approx(0.197, abs=0.03)
    assert country.new == pytest.approx(0.1)
    assert country.new_values == ("xx",)
    assert income.baseline.missing == pytest.approx(np.isnan(before["income"]).mean())
    for one in report:
        assert one.distribution is not None
        assert sum(one.distribution.baseline) == pytest.approx(1)
        assert sum(one.distribution.window) == pytest.approx(1)
    assert "KS distance" in in_words(age)
    assert "10.0% are new: `xx`" in in_words(country)


def test_too_few_values_are_no_steadiness() -> None:
    (found,) = [one for one in _report(1, 40, 2000) if one.name == "age"]
    assert found.verdict is Verdict.UNKNOWN
    assert "50 values" in found.note


def test_a_field_that_has_gone_or_come_is_missing_on_one_side() -> None:
    random = np.random.default_rng(5)
    before, now = rows(random, 500), rows(random, 500)
    gone, come = before.pop("income"), now.pop("children")
    assert len(gone) == len(come)
    found = _named(compare(sketched(before), sketched(now), ["children", "income", "never"]))
    assert found == {"children": {Sign.MISSING}, "income": {Sign.MISSING}}


def test_a_number_that_becomes_a_word_is_told() -> None:
    before, now = Sketch(), Sketch()
    before.rows = now.rows = 600
    numbers, words = before.feature("x"), now.feature("x")
    assert numbers is not None
    assert words is not None
    numbers.numbers.add(np.random.default_rng(6).normal(size=600))
    words.values.add(Counter(["1.5"] * 600).items())
    (found,) = compare(before, now, ["x"])
    assert {finding.sign for finding in found.findings} == {Sign.MISSING}


def _mixed(numbers: list[float], texts: list[float], others: list[str]) -> Sketch:
    """Of files of numbers, and of files whose numbers a text among them has made texts."""
    sketch = Sketch()
    sketch.rows = len(numbers) + len(texts) + len(others)
    feature = sketch.feature("x")
    assert feature is not None
    feature.numbers.add(np.array(numbers))
    feature.spelled.add(np.array(texts))
    feature.values.add(Counter([*map(str, texts), *others]).items())
    return sketch


@pytest.mark.parametrize("alike", [0, 200, 331])
def test_numbers_that_a_text_has_made_texts_are_numbers(alike: int) -> None:
    random = np.random.default_rng(7)
    before, now = (random.normal(size=n).tolist() for n in (150, 530))
    window = _mixed(now[:alike], now[alike:], ["five"])
    (found,) = compare(_mixed(before, [], []), window, ["x"])
    assert found.verdict is Verdict.STEADY
    assert found.window.missing == pytest.approx(1 / 531)
    assert found.window.mean == pytest.approx(np.mean(now))
    (back,) = compare(window, _mixed(before, [], []), ["x"])
    assert (back.verdict, back.baseline.missing) == (Verdict.STEADY, found.window.missing)


def test_a_few_numbers_among_words_leave_them_words() -> None:
    codes = [1.0, 2.0] * 100
    before, now = _mixed([], codes, ["x"] * 100), _mixed([1.0, 2.0], codes, ["x"] * 100)
    (found,) = compare(before, now, ["x"])
    assert found.verdict is Verdict.STEADY
    assert found.window.missing == pytest.approx(2 / 302)
    assert found.distribution is not None
    assert set(found.distribution.values) == {"x", "1.0", "2.0"}


def _words(words: list[str]) -> Sketch:
    sketch = Sketch()
    sketch.rows = 1000
    feature = sketch.feature("x")
    assert feature is not None
    feature.values.add(Counter(words).items())
    return sketch


def test_encrypted_values_are_not_compared_whatever_they_were() -> None:
    plain, encrypted = _words(["de", "fr"] * 500), _words([CONCEALED] * 990 + ["de"] * 10)
    for before, now in ((encrypted, encrypted), (plain, encrypted), (encrypted, plain)):
        (found,) = compare(before, now, ["x"])
        assert (found.verdict, found.findings) == (Verdict.UNKNOWN, ())
        assert found.note == "encrypted, not compared"
    (found,) = compare(encrypted, _words([CONCEALED] * 500), ["x"])
    assert {finding.sign for finding in found.findings} == {Sign.MISSING}
    assert "50.0% now" in in_words(found)


def test_a_few_values_that_look_encrypted_hide_no_change() -> None:
    before, now = _words(["de", "fr"] * 500), _words(["it"] * 600 + [CONCEALED] * 400)
    (found,) = compare(before, now, ["x"])
    assert found.verdict is Verdict.DRIFTED


@pytest.mark.parametrize("count", [200, 1000])
def test_identifiers_are_new_every_day(count: int) -> None:
    before = _words([f"c{number:06}" for number in range(count)])
    now = _words([f"c{number:06}" for number in range(count, 2 * count)])
    (found,) = compare(before, now, ["x"])
    assert not {finding.sign for finding in found.findings} - {Sign.MISSING}
    assert "identifier" in found.note
    (found,) = compare(before, _words(["c000001"] * count), ["x"])
    assert found.verdict is Verdict.DRIFTED


def test_rare_words_in_order_of_their_names_are_no_change() -> None:
    before = _words([f"c{number // 3:06}" for number in range(1000)])
    now = _words([f"c{number // 3:06}" for number in range(1000, 2000)])
    (found,) = compare(before, now, ["x"])
    assert not found.findings


def test_what_has_changed_most_is_named_first() -> None:
    before, now = _words(["de"] * 500 + ["fr"] * 500), _words(["it"] * 1000)
    (found,) = compare(before, now, ["x"])
    assert in_words(found).startswith("100.0% are new: `it`; PSI ")
