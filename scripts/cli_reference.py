"""Writes `docs/reference/cli.md` from the help of every command.

`python scripts/cli_reference.py` writes it; a test fails when it is not what this would write.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.core import TyperGroup
from typer.testing import CliRunner

from modelyard.cli.root import COMMANDS, app, load

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "cli.md"
INTRODUCTION = """\
# Command line

`modelyard <noun> <verb>`. Data goes to stdout, everything else to stderr; nothing printed can steer
a terminal. Without a server elsewhere in `MODELYARD_URL` (and its `MODELYARD_TOKEN`), commands use
the local server and start it when there is none; all [settings](settings.md) are environment
variables.

- `-o json` prints data as JSON: one document, and one object a line for logs.
- Colours and bars appear on a terminal only; `NO_COLOR` switches colours off.
- `modelyard --install-completion` completes commands in your shell.
- Where JSON is wanted, `@file` reads a file and `-` reads stdin.
- `--last 7d` is a length of time that ends now; `--since` and `--until` are moments, `7d` ago or
  `2026-11-28T14:00`; times with two ends that are compared are `--window` and `--against`, `A..B`.
- `delete` and `keys regenerate` ask first; in a script say `--yes`.

| exit status | meaning |
|---|---|
| 0 | done |
| 1 | refused or failed: `error:` says what happened, `hint:` what to do |
| 1 | also: more differs in a `replay` than may, `why` found a cause, `server status` no server |
| 2 | wrong usage |
| 130 | Ctrl-C; a profile or a replay is ended; other operations go on, and the id is printed |

References are `name:version`, or `name` for the latest version.
"""


def page() -> str:
    """The whole page."""
    parts = [INTRODUCTION]
    for words, command in _commands():
        shown = CliRunner().invoke(app, [*words, "--help"]).stdout.rstrip()
        level = "##" if isinstance(command, TyperGroup) or len(words) == 1 else "###"
        parts.append(f"{level} modelyard {' '.join(words)}\n\n```text\n{shown}\n```\n")
    return "\n".join(parts)


def _commands() -> Iterator[tuple[tuple[str, ...], Any]]:
    for name in COMMANDS:
        yield from _below((name,), load(name))


def _below(words: tuple[str, ...], command: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield words, command
    if isinstance(command, TyperGroup):
        for name, child in command.commands.items():
            yield from _below((*words, name), child)


def main() -> None:
    """Write the page."""
    PAGE.write_text(page())
    sys.stdout.write(f"wrote {PAGE.name}\n")


if __name__ == "__main__":
    main()
