"""`modelyard version`."""

from __future__ import annotations

import platform

from modelyard import __version__
from modelyard.cli import output
from modelyard.cli.parameters import commands

app = commands()


@app.command()
def version(form: output.Output = output.Format.TABLE) -> None:
    """Show the version of this program."""
    if form is output.Format.JSON:
        output.data_json({"version": __version__, "python": platform.python_version()})
    else:
        output.data(__version__)
