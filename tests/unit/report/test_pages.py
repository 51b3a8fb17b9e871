from __future__ import annotations

from xml.etree import ElementTree

import pytest

from modelyard.report.charts import bars, histograms
from modelyard.report.page import heading, page, paragraph, table

_HOSTILE = "<script>alert(1)</script>&\"'"


def test_what_comes_in_is_shown_and_never_markup() -> None:
    names = (_HOSTILE, "now")
    text = page(
        _HOSTILE,
        heading(_HOSTILE),
        paragraph(_HOSTILE, "bad"),
        table([_HOSTILE], [[_HOSTILE]]),
        bars([_HOSTILE, "b"], [0.2, 0.8], [0.5, 0.5], names),
        histograms([0, 1, 2], [0.5, 0.5], [1, 0], names),
    )
    assert "<script" not in text
    assert text.count("&lt;script&gt;") >= 7
    assert "src=" not in text
    assert "href=" not in text


@pytest.mark.parametrize("shares", [[0.0, 0.0], [1.0, 0.0], [0.25, 0.75]])
def test_charts_are_whole_svg_within_their_frame(shares: list[float]) -> None:
    for chart in (
        histograms([-1e9, 0, 1e9], shares, shares[::-1], ("before", "now")),
        bars(["a", "b"], shares, shares[::-1], ("before", "now")),
    ):
        root = ElementTree.fromstring(chart)
        width, height = map(float, root.attrib["viewBox"].split()[2:])
        for box in root.iter("{http://www.w3.org/2000/svg}rect"):
            x, y = float(box.attrib["x"]), float(box.attrib["y"])
            assert 0 <= x <= x + float(box.attrib["width"]) <= width
            assert 0 <= y <= y + float(box.attrib["height"]) <= height


def test_a_long_label_is_cut_at_its_end() -> None:
    text = bars(["begin" + "x" * 50, "b"], [0.2, 0.8], [0.5, 0.5], ("before", "now"))
    assert '<text x="0.0" y="40.0" text-anchor="start"' in text
    assert f">begin{'x' * 18}…</text>" in text
