"""A report about drift as a page, with both distributions of each feature."""

from __future__ import annotations

from modelyard.domain.drift import DriftReport, FeatureDrift, Verdict, in_words
from modelyard.report.charts import bars, histograms
from modelyard.report.page import Markup, heading, page, paragraph, table

_NAMES = ("baseline", "window")
_COLUMNS = (
    *("feature", "verdict", "missing before", "missing now", "out of range", "new"),
    *("PSI", "KS", "Wasserstein / SD", "JS"),
)


def as_html(report: DriftReport) -> str:
    """The page: what has drifted first."""
    since = f"{report.window.since:%Y-%m-%d %H:%M} UTC"
    ranked = sorted(report.features, key=lambda one: one.verdict is not Verdict.DRIFTED)
    named = ", ".join(report.drifted)
    parts = [
        paragraph(f"Drifted: {named}", "bad") if named else paragraph("Nothing has drifted."),
        paragraph(
            f"{report.window.rows} rows of {report.model} since {since}, beside "
            f"{report.baseline.rows} rows of the baseline. Of 100 reports about unchanged traffic "
            f"{report.false_alarms * 100:g} names a feature, at most.",
            "faint",
        ),
        *(
            [paragraph(f"Not in the baseline: {', '.join(report.not_in_baseline)}", "faint")]
            if report.not_in_baseline
            else []
        ),
        table(_COLUMNS, map(_row, ranked)),
        *(part for feature in ranked for part in _section(feature)),
    ]
    return page(f"Drift of {report.service}", *parts)


def percent(share: float | None) -> str:
    """A share in words."""
    return "" if share is None else f"{share:.1%}"


def _row(feature: FeatureDrift) -> list[str]:
    is_bad = feature.verdict is Verdict.DRIFTED
    figures = (feature.psi, feature.ks, feature.wasserstein, feature.js)
    return [
        feature.name,
        Markup('<span class="bad">drifted</span>') if is_bad else str(feature.verdict),
        percent(feature.baseline.missing),
        percent(feature.window.missing),
        percent(feature.out_of_range),
        percent(feature.new),
        *("" if value is None else f"{value:.3f}" for value in figures),
    ]


def _section(feature: FeatureDrift) -> list[Markup]:
    words = in_words(feature)
    parts = [heading(feature.name)]
    if words:
        parts.append(paragraph(words, "bad" if feature.verdict is Verdict.DRIFTED else "faint"))
    told = feature.distribution
    if told is not None and told.edges:
        parts.append(histograms(told.edges, told.baseline, told.window, _NAMES))
    elif told is not None:
        parts.append(bars(told.values, told.baseline, told.window, _NAMES))
    return parts
