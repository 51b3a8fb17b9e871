"""`modelyard metrics …`: what Prometheus and Grafana need to watch Modelyard."""

from __future__ import annotations

import json
from importlib import resources

import yaml

from modelyard.cli import output, parameters

app = parameters.commands()

_FILES = resources.files("modelyard.cli") / "prometheus"


@app.command()
def rules(form: output.Output = output.Format.TABLE) -> None:
    """Print alert rules for Prometheus.

    Give their file under `rule_files` in its configuration.
    """
    text = (_FILES / "rules.yml").read_text()
    if form is output.Format.JSON:
        output.data_json(yaml.safe_load(text))
    else:
        output.data(text.rstrip())


@app.command()
def dashboard(form: output.Output = output.Format.JSON) -> None:
    """Print a dashboard for Grafana, to be imported there.

    It is JSON in any case.
    """
    del form
    output.data_json(json.loads((_FILES / "dashboard.json").read_text()))
