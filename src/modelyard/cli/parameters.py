"""Options that several commands share, and how their text becomes values."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from modelyard.domain.values import parse_duration


def commands() -> typer.Typer:
    """An empty set of commands."""
    return typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def pairs(texts: Iterable[str] | None) -> dict[str, str]:
    """Read `key=value` texts; a bare `key` has an empty value."""
    return {key: value for key, _, value in (text.partition("=") for text in texts or ())}


def variables(texts: Iterable[str] | None) -> dict[str, str]:
    """Read `NAME=value` texts; a name alone is a slip, for it would clear the variable."""
    for text in texts or ():
        if "=" not in text:
            raise typer.BadParameter(f"write `{text}=value`", param_hint="--env")
    return pairs(texts)


def json_value(text: str | None) -> Any:
    """Read JSON: as given, from the file in `@path`, or from stdin for `-`; None stays None."""
    if text is None:
        return None
    try:
        return json.loads(content(text))
    except ValueError as error:
        raise typer.BadParameter(f"not JSON: {error}") from None


def content(text: str) -> bytes:
    """The bytes that a parameter stands for: its own, the file's in `@path`, or stdin's for `-`."""
    if text == "-":
        return sys.stdin.buffer.read()
    if not text.startswith("@"):
        return text.encode()
    try:
        return Path(text[1:]).read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"cannot read `{text[1:]}`: {error.strerror}") from None


def moment(text: str | None) -> datetime | None:
    """A moment: so long ago, or as it is written; without a zone it is this machine's."""
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        pass
    try:
        return datetime.now(UTC) - timedelta(seconds=float(str(parse_duration(text))))
    except (ValueError, OverflowError):
        raise typer.BadParameter(
            f"`{text}` is no time: write how long ago, such as `30m`, `1h` or `7d`, or a moment, "
            "such as `2026-11-28T14:00`"
        ) from None


def seconds(text: str) -> float:
    """A length of time."""
    try:
        return float(str(parse_duration(text)))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def given(**values: Any) -> dict[str, Any]:
    """The options that were given."""
    return {name: value for name, value in values.items() if value not in (None, [], {})}


def nothing_given(advice: str) -> typer.BadParameter:
    """The usage error of a command that was told nothing to do."""
    return typer.BadParameter(f"nothing to do: {advice}")


def check_place(path: Path | None, option: str) -> None:
    """Refuse, before anything else is done, a file that has no folder or no name."""
    if path == Path("-"):
        raise typer.BadParameter("it is written into a file: name one", param_hint=option)
    if path is not None and not path.parent.is_dir():
        raise typer.BadParameter(f"there is no folder {path.parent}", param_hint=option)


def confirm(yes: bool, question: str) -> None:
    """Ask before something that cannot be undone; without a terminal only `--yes` answers."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise typer.BadParameter("nobody is there to ask: say --yes", param_hint="--yes")
    typer.confirm(question, abort=True, err=True)


ServiceName = Annotated[str, typer.Argument(help="Name of the service.", metavar="SERVICE")]
ModelReference = Annotated[
    str, typer.Argument(help="`name:version`, or `name` for the latest.", metavar="MODEL")
]
ImageReference = Annotated[
    str, typer.Argument(help="`name:version`, or `name` for the latest.", metavar="IMAGE")
]
Tags = Annotated[
    list[str] | None,
    typer.Option("--tag", help="Tag `key=value`; repeat for several.", metavar="TAG"),
]
Properties = Annotated[
    list[str] | None,
    typer.Option(
        "--property", help="Property `key=value`, which never changes; repeat.", metavar="PROPERTY"
    ),
]
Script = Annotated[
    Path | None,
    typer.Option(
        help="Scoring script with `init()` and `run(data)`; unset serves the one model by its own "
        "methods.",
        metavar="FILE",
    ),
]
Requirements = Annotated[
    Path | None,
    typer.Option(
        help="requirements.txt, conda .yml or pyproject.toml; unset without a script is what the "
        "model needs.",
        metavar="FILE",
    ),
]
Description = Annotated[str | None, typer.Option(help="Free text.", metavar="TEXT")]
Sample = Annotated[
    str | None,
    typer.Option(help="A request body as JSON, or `@file`, or `-` for stdin.", metavar="JSON"),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Wait = Annotated[bool, typer.Option(help="Return when it is done, or at once.")]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes.")]
Optimize = Annotated[
    bool,
    typer.Option("--optimize", help="Serve a faster form of the model that answers the same."),
]
Base = Annotated[
    str | None,
    typer.Option(
        "--base",
        help="What the image stands on in a container: `host`, an image in a registry, the path of "
        "an OCI layout, or `none`; unset takes the server's setting.",
        metavar="BASE",
    ),
]
Platform = Annotated[
    str | None,
    typer.Option(
        "--platform",
        help="What the image is for, such as `linux/arm64`; unset takes the server's own.",
        metavar="PLATFORM",
    ),
]
Slim = Annotated[
    bool,
    typer.Option("--slim", help="Leave tests, headers, stubs and documentation of packages out."),
]
AllowSources = Annotated[
    bool,
    typer.Option(
        "--allow-sources",
        help="Build packages without wheels from their sources, which runs code of theirs.",
    ),
]
Upgrade = Annotated[bool, typer.Option("--upgrade", help="Resolve the requirements anew.")]

NewTags = Annotated[
    list[str] | None, typer.Argument(help="Tags `key=value` to add.", metavar="[TAG]...")
]
RemovedTags = Annotated[
    list[str] | None,
    typer.Option("--remove", help="Key of a tag to remove; repeat.", metavar="KEY"),
]
ReplaceTags = Annotated[
    bool, typer.Option("--replace", help="Put the given tags in place of all others.")
]

# Filters of `list`; every one given must match.
ByName = Annotated[str | None, typer.Option("--name", help="Exact name.", metavar="NAME")]
ByVersion = Annotated[int | None, typer.Option("--version", help="Exact version.", metavar="N")]
ByTag = Annotated[
    list[str] | None, typer.Option("--tag", help="`key` or `key=value`; repeat.", metavar="TAG")
]
ByProperty = Annotated[
    list[str] | None,
    typer.Option("--property", help="`key` or `key=value`; repeat.", metavar="PROPERTY"),
]
ByFramework = Annotated[str | None, typer.Option("--framework", metavar="NAME", help="Framework.")]
ByModel = Annotated[
    str | None,
    typer.Option("--model", help="Those with this model inside: `name[:version]`.", metavar="REF"),
]
ByImage = Annotated[
    str | None,
    typer.Option("--image", help="Those that run this image: `name[:version]`.", metavar="REF"),
]
After = Annotated[
    datetime | None, typer.Option("--created-after", help="Created after.", metavar="TIME")
]
Before = Annotated[
    datetime | None, typer.Option("--created-before", help="Created before.", metavar="TIME")
]
ByText = Annotated[
    str | None,
    typer.Option("--text", help="Part of a name, description, tag or property.", metavar="TEXT"),
]
Limit = Annotated[int, typer.Option(help="Most to show, newest first; 0 for all.", min=0)]

_WHERE = typer.Option(help="Where replicas run: `local` or `container`.", metavar="NAME")
Target = Annotated[str, _WHERE]
MaybeTarget = Annotated[str | None, _WHERE]

# Settings of a service.
Replicas = Annotated[
    int | None,
    typer.Option(help="Running copies; with --max-replicas the least of them.", metavar="N"),
]
MaxReplicas = Annotated[
    int | None,
    typer.Option(
        help="Let copies come with the load, up to so many; as many as --replicas: no more come.",
        metavar="N",
    ),
]
IdleTime = Annotated[
    str | None,
    typer.Option(
        help="Time without a request until the last copy goes, `10m`; with --replicas 0.",
        metavar="TIME",
    ),
]
Cpu = Annotated[float | None, typer.Option(help="Cores of one replica.", metavar="N")]
Memory = Annotated[str | None, typer.Option(help="Limit of one replica, `1GiB`.", metavar="SIZE")]
ScoringTimeout = Annotated[
    str | None, typer.Option(help="Longest time for one request, `60s`.", metavar="TIME")
]
StartupTimeout = Annotated[
    str | None, typer.Option(help="Longest time until a replica is ready, `5m`.", metavar="TIME")
]
Environment = Annotated[
    list[str] | None,
    typer.Option(
        "--env",
        help="Variable `NAME=value`; repeat. Replaces all from before; empty: none.",
        metavar="VARIABLE",
    ),
]
MaxConcurrentRequests = Annotated[
    int | None, typer.Option(help="Requests in flight at one replica.", metavar="N")
]
MaxQueueWait = Annotated[
    str | None, typer.Option(help="Longest wait at the gateway, `10s`.", metavar="TIME")
]
Network = Annotated[
    str | None,
    typer.Option(
        help="What it may reach by itself: `none` (the default), or `outbound`.", metavar="KIND"
    ),
]
CorsOrigins = Annotated[
    list[str] | None,
    typer.Option(
        "--cors-origin",
        help="Web page whose scripts may read answers, `https://app.example`, or `*`; repeat. "
        "Replaces all from before; empty: none.",
        metavar="ORIGIN",
    ),
]
CaptureDurable = Annotated[
    bool | None,
    typer.Option(help="Answer when the record is on the disk, or when it is written."),
]
CaptureDrop = Annotated[
    list[str] | None,
    typer.Option(
        help="Field that is left out of records, `name` or `customer.name`; repeat. Empty: none.",
        metavar="FIELD",
    ),
]
CaptureHash = Annotated[
    list[str] | None,
    typer.Option(
        help="Field of which only a hash is recorded; repeat. Empty: none.", metavar="FIELD"
    ),
]
CaptureEncrypt = Annotated[
    list[str] | None,
    typer.Option(
        help="Field that is recorded encrypted, for the owner to read; repeat. Empty: none.",
        metavar="FIELD",
    ),
]
Alerts = Annotated[
    list[str] | None,
    typer.Option(
        "--alert",
        help="When to tell somebody: `error_rate>5%`, `p99>500ms over 15m`, `silence>10m`, "
        "`capture_drops>0`, `drift`, `accuracy<0.9`; repeat. Replaces all from before; empty: "
        "none.",
        metavar="RULE",
    ),
]
Capture = Annotated[
    str | None,
    typer.Option(help="Requests to record: `100%`, `10%`, or `off`.", metavar="SHARE"),
]
CaptureSpace = Annotated[
    str | None,
    typer.Option(help="Disk for records on their way, per replica, `1GiB`.", metavar="SIZE"),
]
CaptureWhenFull = Annotated[
    str | None,
    typer.Option(help="Beyond that: `drop_new`, `drop_old` or `refuse`.", metavar="POLICY"),
]
Clients = Annotated[
    list[str] | None,
    typer.Option(
        "--client",
        help="Name in certificates of a caller that may score with `--auth cert`: `uri:…`, `dns:…` "
        "or `email:…`; repeat. Replaces all from before; empty: none.",
        metavar="NAME",
    ),
]
Sticky = Annotated[
    str | None,
    typer.Option(
        help="Header by whose value callers stay with one deployment of several, `x-user-id`; "
        "empty: none.",
        metavar="HEADER",
    ),
]
Canary = Annotated[
    str | None,
    typer.Option(
        help="Try the change beside what serves with a share of the traffic, `10%`, or with "
        "several in steps, `10%,50%`.",
        metavar="SHARES",
    ),
]
Shadow = Annotated[
    str | None,
    typer.Option(
        help="Try the change with copies of a share of the requests, `10%`, whose answers are "
        "compared and go to nobody.",
        metavar="SHARE",
    ),
]
Replay = Annotated[
    int | None,
    typer.Option(
        help="Change it only if so many captured requests, scored with what it is to be, are "
        "answered as before.",
        min=1,
        metavar="N",
    ),
]
MaxDiff = Annotated[
    str | None,
    typer.Option(
        help="Share of the replayed requests that may be answered otherwise, `2%`.",
        metavar="SHARE",
    ),
]
Altered = Annotated[
    bool,
    typer.Option(
        "--altered",
        help="Replay those, too, whose inputs a rule of capture has altered, as recorded.",
    ),
]
Absolute = Annotated[float, typer.Option(help="Numbers agree within this…", min=0, metavar="N")]
Relative = Annotated[
    float, typer.Option(help="…and this many times the recorded one's size.", min=0, metavar="N")
]
Ignore = Annotated[
    list[str] | None,
    typer.Option(
        help="Member of answers that is not compared, `took` or `model.loaded`; repeat.",
        metavar="FIELD",
    ),
]
StepTime = Annotated[
    str | None,
    typer.Option(
        help="How long each share of a canary lasts, `10m`; after the last it gets all. Unset: "
        "until `service promote` or `service rollback`.",
        metavar="TIME",
    ),
]
Judged = Annotated[
    bool | None,
    typer.Option(
        "--judged/--unjudged",
        help="Whether what is new goes back by itself when it is worse than what served before.",
    ),
]
Auth = Annotated[
    str | None,
    typer.Option(help="`key`, `token`, `cert`, or `none`: all may score.", metavar="KIND"),
]
