"""How far traffic is from what a model was made for, feature by feature."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import Field, computed_field

from modelyard.domain.values import Value

FALSE_ALARMS = 0.01
"""Share of reports about unchanged traffic that name any feature, at most."""


class Verdict(StrEnum):
    """What is said of a feature."""

    DRIFTED = "drifted"
    STEADY = "steady"
    UNKNOWN = "unknown"


class Sign(StrEnum):
    """By what drift shows."""

    MISSING = "missing"
    """More values, or fewer, are missing."""
    RANGE = "range"
    """Numbers below the least, or above the greatest, of the baseline."""
    NEW = "new"
    """Values that are not in the baseline."""
    KS = "ks"
    """Greatest distance between the distribution functions."""
    PSI = "psi"
    """Population stability index."""


class Finding(Value):
    """One sign that is both larger than what matters and no chance."""

    sign: Sign
    value: float
    """What was measured."""
    threshold: float
    """From where on it matters."""
    p: float
    """Probability of it where nothing has changed, adjusted for all tests of the report."""


class Summary(Value):
    """A feature on one side."""

    rows: int
    missing: float
    """Share of the rows that have no value, or one of another kind."""
    least: float | None = None
    most: float | None = None
    mean: float | None = None
    deviation: float | None = None
    """Standard deviation."""


class Distribution(Value):
    """What both sides look like, for a picture: shares that are 1 together."""

    edges: tuple[float, ...] = ()
    """Of numbers: between them lie the shares; what is beyond them counts in the outer ones."""
    values: tuple[str, ...] = ()
    """Of words: what the shares are of."""
    baseline: tuple[float, ...]
    window: tuple[float, ...]


class FeatureDrift(Value):
    """One feature, compared."""

    name: str
    verdict: Verdict
    findings: tuple[Finding, ...] = ()
    note: str = ""
    """Why nothing can be said."""
    baseline: Summary
    window: Summary
    psi: float | None = None
    ks: float | None = None
    wasserstein: float | None = None
    """In standard deviations of the baseline."""
    js: float | None = None
    """Jensen-Shannon distance, base 2: 0 to 1."""
    out_of_range: float | None = None
    """Share of the numbers below the least, or above the greatest, of the baseline."""
    new: float | None = None
    """Share of the values that the baseline does not have."""
    new_values: tuple[str, ...] = ()
    """The most frequent of them."""
    distribution: Distribution | None = None


class Sample(Value):
    """Rows that are compared."""

    source: str
    """`file` or `window`."""
    rows: int
    since: datetime | None = None
    until: datetime | None = None


class Baseline(Value):
    """What a model was made for: rows from a file."""

    service: str
    model: str
    """`name:version`."""
    rows: int
    features: tuple[str, ...]
    at: datetime
    warning: str = ""
    """Why its columns may not be those of the traffic; told when it is set."""


class DriftReport(Value):
    """A window of a service's traffic beside a baseline."""

    service: str
    model: str
    """`name:version`."""
    baseline: Sample
    window: Sample
    false_alarms: float = FALSE_ALARMS
    features: tuple[FeatureDrift, ...]
    not_in_baseline: tuple[str, ...] = ()
    """Columns of the window that a baseline from a file does not have."""
    waiting: int = Field(0, ge=0)
    """Files of records that have come in and are not sketched yet."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def drifted(self) -> tuple[str, ...]:
        """Names of the features that have drifted."""
        return tuple(one.name for one in self.features if one.verdict is Verdict.DRIFTED)


def in_words(feature: FeatureDrift) -> str:
    """What has changed of a feature, in a sentence; or why nothing can be said."""
    if not feature.findings:
        return feature.note
    ranked = sorted(feature.findings, key=_most_first)
    words = [_words(feature, finding) for finding in ranked]
    before, now = feature.baseline, feature.window
    if before.mean is not None and now.mean is not None:
        words.append(
            f"mean {before.mean:.4g} → {now.mean:.4g}, "
            f"deviation {before.deviation:.4g} → {now.deviation:.4g}"
        )
    return "; ".join(words)


def _most_first(finding: Finding) -> tuple[float, bool]:
    """All are shares or distances up to 1 but PSI, which has no end and says least."""
    return -min(finding.value, 1.0), finding.sign is Sign.PSI


def _words(feature: FeatureDrift, finding: Finding) -> str:
    before, now = feature.baseline, feature.window
    if finding.sign is Sign.MISSING:
        return f"missing in {before.missing:.1%} of rows before, in {now.missing:.1%} now"
    if finding.sign is Sign.RANGE:
        return f"{finding.value:.1%} are outside of {before.least:.4g} to {before.most:.4g}"
    if finding.sign is Sign.NEW:
        named = ", ".join(f"`{value}`" for value in feature.new_values[:3])
        return f"{finding.value:.1%} are new: {named}"
    word = "KS distance" if finding.sign is Sign.KS else "PSI"
    return f"{word} {finding.value:.2f}"
