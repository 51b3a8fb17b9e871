"""What `modelyard replay` writes into files: a page, and JUnit for those who count tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from xml.etree import ElementTree

from modelyard.cli import figures, output
from modelyard.domain.difference import Kind
from modelyard.domain.profile import milliseconds
from modelyard.domain.replay import TIME_BOUNDS, Example, Failure, Found, Replay, Times, Unfit
from modelyard.report.charts import histograms
from modelyard.report.page import Markup, heading, page, paragraph, table

_WIDTH = 640
_OUTCOMES = {True: "Passed: ", False: "Not passed: ", None: ""}
_WHEN = "%Y-%m-%d %H:%M:%S UTC"


def as_html(replay: Replay) -> str:
    """A page with everything; it loads nothing."""
    found = replay.found
    return page(
        f"{replay.service}: replay with {replay.image}",
        paragraph(
            f"{_OUTCOMES[replay.passed]}{replay.verdict}", "bad" if replay.passed is False else ""
        ),
        *([paragraph(f"{replay.way_out}.")] if replay.way_out else []),
        _about(replay),
        heading("What became of the requests"),
        _outcomes(replay),
        heading("Largest differences"),
        table(
            ("prediction", "what", "where", "before", "now", "apart"),
            map(_example, found.largest),
        )
        if found.largest
        else paragraph("There are none."),
        *_failures(found.failures),
        *_quality(found),
        heading("Times"),
        *_times(found.before, found.after),
    )


def as_junit(replay: Replay) -> str:
    """One test: whether no more differs than may."""
    failed = replay.passed is False
    proves_nothing = replay.proves_nothing
    seconds = f"{(replay.ended_at - replay.began_at).total_seconds():.3f}"
    counts = {
        "tests": "1",
        "failures": str(int(failed and not proves_nothing)),
        "errors": str(int(proves_nothing)),
        "time": seconds,
    }
    suite = ElementTree.Element("testsuite", {"name": f"replay of {replay.service}", **counts})
    properties = ElementTree.SubElement(suite, "properties")
    for name, value in _facts(replay).items():
        ElementTree.SubElement(properties, "property", {"name": name, "value": _xml(value)})
    case = ElementTree.SubElement(
        suite,
        "testcase",
        {
            "classname": f"replay.{replay.service}",
            "name": f"{replay.image} answers as before",
            "time": seconds,
        },
    )
    lines = "\n".join(_line(example) for example in replay.found.largest)
    if failed:
        kind = "error" if proves_nothing else "failure"
        failure = ElementTree.SubElement(case, kind, {"message": _xml(replay.verdict)})
        failure.text = _xml(replay.way_out or "" if proves_nothing else lines)
    else:
        ElementTree.SubElement(case, "system-out").text = _xml(f"{replay.verdict}\n{lines}")
    ElementTree.indent(suite)
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(suite, "unicode") + "\n"
    )


def _facts(replay: Replay) -> dict[str, str]:
    found = replay.found
    return {
        "replay": str(replay.id),
        "candidate": f"{replay.image} ({replay.digest})",
        "requests": _counted(found.requests, found.left_out, "cannot be sent"),
        "recorded": f"{found.first:{_WHEN}} to {found.last:{_WHEN}}" if found.first else "",
        "answered by": ", ".join(f"{name or 'nobody'} {n}" for name, n in found.images.items()),
        "compared": _counted(found.compared, found.uncompared, "not compared"),
        "equal": str(found.equal),
        "failed before, not now": str(found.repaired),
        "different": _counted(found.different, found.kinds, "of them"),
        "errors of the candidate": str(found.errors),
        "ended": f"{replay.ended_at:{_WHEN}}",
    }


def _about(replay: Replay) -> Markup:
    return table(("", ""), ((name, value) for name, value in _facts(replay).items() if value))


def _counted(number: int, reasons: Mapping[Unfit, int] | Mapping[Kind, int], what: str) -> str:
    told = ", ".join(f"{why} {count}" for why, count in reasons.items())
    return f"{number} ({what}: {told})" if told else str(number)


def _outcomes(replay: Replay) -> Markup:
    """A bar of what became of the requests, and what its colours mean."""
    found = replay.found
    counts = {
        "equal": (found.equal, "#2e8b57"),
        "failed before, not now": (found.repaired, "#8fbc8f"),
        "different": (found.different, "#c0392b"),
        "not compared": (sum(found.uncompared.values()), "#c9ced6"),
        "not sent": (sum(found.left_out.values()), "#9aa5b1"),
    }
    drawn, legend, x = [], [], 0.0
    for name, (number, colour) in counts.items():
        width = _WIDTH * number / max(found.requests, 1)
        drawn.append(f'<rect x="{x:.1f}" width="{width:.1f}" height="24" fill="{colour}"/>')
        legend.append(f'<span style="color:{colour}">■</span> {name} {number}')
        x += width
    label = f"{found.different} of {found.compared} differ"
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} 24" width="{_WIDTH}" '
        f'role="img" aria-label="{label}">{"".join(drawn)}</svg>'
    )
    return Markup(f"{svg}<p>{' &nbsp; '.join(legend)}</p>")


def _times(before: Times | None, after: Times | None) -> Iterator[Markup]:
    if before is None or after is None:
        yield paragraph("No request was answered by both.")
        return
    both = zip(before.histogram, after.histogram, strict=True)
    filled = [i for i, counts in enumerate(both) if any(counts)]
    bins = slice(filled[0], filled[-1] + 1)
    edges = [0.0, *TIME_BOUNDS, 10 * TIME_BOUNDS[-1]][filled[0] : filled[-1] + 2]
    first, second = (
        [number / times.count for number in times.histogram[bins]] for times in (before, after)
    )
    yield histograms([1000 * edge for edge in edges], first, second, ("before, ms", "now, ms"))
    rows = (
        (name, *map(milliseconds, (times.p50, times.p95, times.p99, times.longest)))
        for name, times in (("before", before), ("now", after))
    )
    yield table(("", "half within", "95 % within", "99 % within", "longest"), rows)
    yield paragraph(
        "Those of before are as recorded, under the load that there was; those of now include the "
        "way to the replica and back.",
        "faint",
    )


def _failures(failures: tuple[Failure, ...]) -> Iterator[Markup]:
    if failures:
        yield heading("Failures of the candidate")
        rows = (
            (str(one.status or "none"), str(one.count), one.prediction_id, one.text)
            for one in failures
        )
        yield table(("status", "requests", "first", "says"), rows)


def _quality(found: Found) -> Iterator[Markup]:
    """Where truths were told."""
    quality = found.quality
    if quality is None and found.unmeasured is None:
        return
    yield heading("Quality, by the truths that were told")
    if quality is None:
        yield paragraph(f"It cannot be measured: {found.unmeasured}.")
        return
    titles = (title.lower() for title in figures.titles(quality.task))
    both = (("before", quality.before), ("now", quality.after))
    rows = (
        (
            name,
            *map(output.cell, (one.labelled, one.unusable, *figures.cells(one, quality.task))),
        )
        for name, one in both
    )
    yield table(("", "labelled rows", "unusable", *titles), rows)


def _example(example: Example) -> tuple[str, ...]:
    one = example.difference
    apart = "" if one.apart is None else f"{one.apart:.4g}"
    return (example.prediction_id, one.kind, one.path or "all", one.before, one.after, apart)


def _line(example: Example) -> str:
    one = example.difference
    where = one.path or "all"
    return f"{example.prediction_id} {one.kind} {where}: {one.before} before, {one.after} now"


def _xml(text: str) -> str:
    """Text without what XML has no way to say."""
    return "".join(c if c.isprintable() or c in "\n\t" else "�" for c in text)
