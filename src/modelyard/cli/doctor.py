"""`modelyard doctor`."""

from __future__ import annotations

from collections.abc import Iterator

import typer
from pydantic import ValidationError

from modelyard.agent.doctor import Finding, Grade, examine
from modelyard.cli import output, parameters
from modelyard.client import connect
from modelyard.client.client import read_environment
from modelyard.client.local import LocalServer
from modelyard.domain.validation import explain
from modelyard.errors import ModelyardError
from modelyard.settings import Settings

app = parameters.commands()


@app.command()
def doctor(form: output.Output = output.Format.TABLE) -> None:
    """Say what this host can do, and what is missing.

    Everything is really tried, and each line has its fix. Exits with 0 unless something is missing
    that nothing works without.
    """
    output.say("looking at this host; some of it takes a few seconds")
    found = [*_servers(), *examine(_settings())]
    if form is output.Format.JSON:
        output.data_json([finding.model_dump(mode="json") for finding in found])
    else:
        _show(found)
    if any(finding.required and finding.grade is Grade.MISSING for finding in found):
        raise typer.Exit(1)


def _settings() -> Settings:
    try:
        return Settings()
    except ValidationError as error:
        raise explain(error.errors(), "a setting in the environment (MODELYARD_…)") from None


def _servers() -> Iterator[Finding]:
    environment = read_environment()
    if environment.url is not None:
        yield _elsewhere(environment.url)
        return
    local = LocalServer(environment.home, environment.wheels)
    address = local.find()
    if address is None:
        seen = "does not run; it is started when it is needed"
    else:
        seen = f"{address.url}; it keeps the settings it was started with"
        output.say("the other lines go by the settings of this shell")
    yield Finding(name="server", grade=Grade.OK, seen=seen)


def _elsewhere(url: str) -> Finding:
    output.say("replicas run on the host of that server: the rest is about this machine only")
    try:
        with connect() as yard:
            version = yard.info().version
    except ModelyardError as error:
        return Finding(
            name="server",
            grade=Grade.MISSING,
            seen=f"{url}: {error.message}",
            fix=error.hint or "",
            required=True,
        )
    return Finding(name="server", grade=Grade.OK, seen=f"{url}, version {version}")


def _show(found: list[Finding]) -> None:
    rows = [(finding.name, finding.grade, finding.seen) for finding in found]
    output.table(("WHAT", "STATE", "SEEN"), rows, sentence="SEEN")
    for finding in found:
        if finding.fix:
            output.data(f"{finding.name}: {finding.fix}")
