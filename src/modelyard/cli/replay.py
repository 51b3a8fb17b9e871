"""`modelyard replay`: score captured requests with another image, and compare the answers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from modelyard.cli import figures, output, parameters, progress, session, shared
from modelyard.cli.listing import show_all
from modelyard.cli.replay_page import as_html, as_junit
from modelyard.domain.profile import milliseconds
from modelyard.domain.quality import ComparedQuality
from modelyard.domain.replay import Example, Failure, Replay, Times

_RUN = "run"


class _Group(TyperGroup):
    """Takes the name of a service in the place of a verb: `modelyard replay digits …`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the words name, else `run`."""
        words = args if args and args[0] in self.commands else [_RUN, *args]
        return super().resolve_command(ctx, words)


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"], "ignore_unknown_options": True},
)

Html = Annotated[
    Path | None,
    typer.Option("--html", help="Write a page with plots into this file.", metavar="FILE"),
]
Junit = Annotated[
    Path | None,
    typer.Option("--junit", help="Write the verdict as JUnit XML into this file.", metavar="FILE"),
]
ReplayId = Annotated[str, typer.Argument(help="Id of the replay.", metavar="ID")]


@app.command(_RUN)
@shared.options(shared.ReplaySettingOptions)
def run(
    service: parameters.ServiceName,
    image: Annotated[
        str, typer.Option("--image", help="The candidate, `name[:version]`.", metavar="REF")
    ],
    requests: Annotated[
        int, typer.Option(help="Most requests that are taken.", min=1, metavar="N")
    ] = 1000,
    last: Annotated[
        str | None,
        typer.Option(help="Only requests of so long ago, `7d`; unset: all.", metavar="TIME"),
    ] = None,
    random: Annotated[
        bool,
        typer.Option("--random", help="Take them at random, the same each time, not the newest."),
    ] = False,
    altered: parameters.Altered = False,
    absolute: parameters.Absolute = 1e-5,
    relative: parameters.Relative = 1e-4,
    ignore: parameters.Ignore = None,
    max_diff: parameters.MaxDiff = None,
    html: Html = None,
    junit: Junit = None,
    form: output.Output = output.Format.TABLE,
    **settings: Any,
) -> None:
    """Score captured requests with another image, and compare.

    The image is started beside the service, with its settings and those given here; the service is
    not touched. The exit status is 1 when nothing could be compared, and with --max-diff when
    fewer than half could, or when more is answered otherwise.
    """
    parameters.check_place(html, "--html")
    parameters.check_place(junit, "--junit")
    with session.client() as yard, progress.few_lines() as on_log:
        report = yard.replays.run(
            service,
            image,
            requests=requests,
            last=last,
            choice="random" if random else "newest",
            altered=altered,
            absolute=absolute,
            relative=relative,
            ignore=ignore or (),
            max_diff=max_diff,
            on_log=on_log,
            **settings,
        )
    _give(report, form, html, junit)


@app.command()
def show(
    replay: ReplayId,
    html: Html = None,
    junit: Junit = None,
    form: output.Output = output.Format.TABLE,
) -> None:
    """Show the report of a replay; the exit status is that of the replay."""
    parameters.check_place(html, "--html")
    parameters.check_place(junit, "--junit")
    with session.client() as yard:
        report = yard.replays.get(replay)
    _give(report, form, html, junit)


@app.command("list")
def list_replays(limit: parameters.Limit = 50, form: output.Output = output.Format.TABLE) -> None:
    """List the reports of replays, newest first.

    Replays that failed or go on are in `operation list`. A service that is named `list` or `show`
    is replayed by `replay run NAME`.
    """
    with session.client() as yard:
        reports = yard.replays.list(limit=limit or None)
    columns = ("ID", "SERVICE", "CANDIDATE", "VERDICT", "ENDED (UTC)")
    show_all(form, reports, columns, _row, sentence="VERDICT")


def _row(report: Replay) -> list[output.Cell]:
    return [str(report.id), report.service, report.image, report.verdict, report.ended_at]


def _give(report: Replay, form: output.Format, html: Path | None, junit: Path | None) -> None:
    if html is not None:
        output.write_file(html, as_html(report))
    if junit is not None:
        output.write_file(junit, as_junit(report))
    if form is output.Format.JSON:
        output.data_json(report.model_dump(mode="json"))
    else:
        _show(report)
    if report.passed is False:
        raise typer.Exit(1)


def _show(report: Replay) -> None:
    found = report.found
    output.fields(
        [
            ("replay", str(report.id)),
            ("service", report.service),
            ("candidate", report.image),
            ("requests", _counted(found.requests, _reasons(found.left_out), "cannot be sent")),
            ("answered by", ", ".join(f"{name} {n}" for name, n in found.images.items())),
            ("compared", _counted(found.compared, _reasons(found.uncompared), "not compared")),
            ("equal", found.equal),
            ("failed before, not now", found.repaired or None),
            ("different", _counted(found.different, _reasons(found.kinds), "")),
            ("errors of the candidate", found.errors),
            ("times before", _times(found.before)),
            ("times now", _times(found.after)),
            ("quality not measured", found.unmeasured),
        ]
    )
    if found.quality is not None:
        _show_quality(found.quality)
    if found.largest:
        output.data("")
        columns = ("PREDICTION", "WHAT", "WHERE", "BEFORE", "NOW", "APART")
        output.table(columns, map(_example, found.largest[:_SHOWN]), cut={"WHERE", "BEFORE", "NOW"})
    if found.failures:
        output.data("")
        titles = ("STATUS", "REQUESTS", "FIRST", "SAYS")
        output.table(titles, map(_failure, found.failures), sentence="SAYS")
    output.data("")
    output.data(report.verdict)
    if report.way_out is not None:
        output.say(f"hint: {report.way_out}")


def _show_quality(quality: ComparedQuality) -> None:
    output.data("")
    columns = ("QUALITY", "LABELLED", "UNUSABLE", *figures.titles(quality.task))
    both = (("before", quality.before), ("now", quality.after))
    rows = [
        [name, one.labelled, one.unusable, *figures.cells(one, quality.task)] for name, one in both
    ]
    output.table(columns, rows)


_SHOWN = 10
"""Differences of a table; JSON and the page have more."""


def _reasons(counts: Any) -> str:
    return ", ".join(f"{why} {number}" for why, number in counts.items())


def _counted(number: int, reasons: str, what: str) -> str:
    return f"{number} ({f'{what}: ' if what else ''}{reasons})" if reasons else str(number)


def _times(times: Times | None) -> str | None:
    if times is None:
        return None
    return (
        f"half within {milliseconds(times.p50)}, 95 % within {milliseconds(times.p95)}, "
        f"99 % within {milliseconds(times.p99)}"
    )


def _example(example: Example) -> list[output.Cell]:
    difference = example.difference
    return [
        *(example.prediction_id, difference.kind, difference.path or "all"),
        *(difference.before, difference.after, difference.apart),
    ]


def _failure(failure: Failure) -> list[output.Cell]:
    return [failure.status or "none", failure.count, failure.prediction_id, failure.text]
