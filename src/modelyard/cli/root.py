"""The root of the command line: finds the module of a noun, and ends every command properly.

Importing the SDK takes half a second, so a noun's module is imported when one of its commands is
called; `--help` and completion of nouns need only the table below.
"""

from __future__ import annotations

import sys
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

from modelyard.cli import output
from modelyard.errors import ModelyardError


class Entry(NamedTuple):
    """Where a command of the first level is defined, and what it does."""

    module: str
    help: str


COMMANDS = {
    "deploy": Entry("modelyard.cli.deploy", "Bring a service up from files, doing what differs."),
    "why": Entry("modelyard.cli.why", "Say why a service is not ready, and what to do."),
    "model": Entry("modelyard.cli.model", "Register, find, download and delete models."),
    "image": Entry("modelyard.cli.image", "Build, find, move and delete images."),
    "profile": Entry(
        "modelyard.cli.profile", "Measure an image under load, and say what it needs."
    ),
    "find-package": Entry(
        "modelyard.cli.find_package", "Say which images and services contain a package."
    ),
    "service": Entry("modelyard.cli.service", "Deploy, update, score and delete services."),
    "top": Entry("modelyard.cli.top", "Show how every service is used now."),
    "metrics": Entry("modelyard.cli.metrics", "Print what Prometheus and Grafana need."),
    "capture": Entry("modelyard.cli.capture", "Ask about requests that were recorded."),
    "replay": Entry(
        "modelyard.cli.replay", "Score recorded requests with another image, and compare."
    ),
    "reproduce": Entry(
        "modelyard.cli.reproduce",
        "Make one captured prediction once more, by its own image.",
    ),
    "alert": Entry("modelyard.cli.alert", "Show how alerts stand, and say who is told."),
    "operation": Entry("modelyard.cli.operation", "Follow what takes its time."),
    "server": Entry("modelyard.cli.server", "Start and stop the local server."),
    "doctor": Entry("modelyard.cli.doctor", "Say what this host can do, and what is missing."),
    "version": Entry("modelyard.cli.version", "Show the version of this program."),
}
"""Every command of the first level, in the order of its help."""


@cache
def load(name: str) -> Any:
    """The whole command of this name, its module imported."""
    command = typer.main.get_command(import_module(COMMANDS[name].module).app)
    command.name = name
    if isinstance(command, TyperGroup):
        command.help = COMMANDS[name].help
    return command


class RootGroup(TyperGroup):
    """Knows its commands by name and help; imports the one that is called."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, entry in COMMANDS.items():
            self.add_command(TyperCommand(name, help=entry.help))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the words name, ready to be called."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, load(name) if name in COMMANDS else command, rest

    def invoke(self, ctx: Any) -> Any:
        """Call the command; what it raises becomes a message and an exit status, in this place."""
        try:
            return super().invoke(ctx)
        except ModelyardError as error:
            output.report(error)
            raise typer.Exit(1) from None
        except KeyboardInterrupt as interrupt:
            output.say("")
            for note in ("interrupted", *getattr(interrupt, "__notes__", ())):
                output.say(note)
            raise typer.Exit(130) from None


app = typer.Typer(
    name="modelyard",
    cls=RootGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Takes a trained model from a file to a monitored web service, and keeps it there.",
)


@app.callback()
def _root() -> None:
    pass


def main() -> None:
    """Run one command and end the process with its exit status.

    0: done; 1: refused or failed, with `error:` and `hint:`; 2: wrong usage; 130: Ctrl-C.
    """
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character gets its escape instead of a crash.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    app(prog_name="modelyard")
