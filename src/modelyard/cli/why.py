"""`modelyard why`."""

from __future__ import annotations

from collections.abc import Sequence

import typer

from modelyard.cli import alert, output, parameters, session
from modelyard.domain.alert import Alert
from modelyard.domain.cause import Cause
from modelyard.domain.service import ServiceState

app = parameters.commands()


@app.command()
def why(
    name: parameters.ServiceName,
    form: output.Output = output.Format.TABLE,
) -> None:
    """Say why a service is not ready, and what to do.

    It names one cause, the evidence and the fix. Exits with 0 when the service is ready, though
    there may be something to say, such as refused keys; and with 1 when it is not.
    """
    with session.client() as yard:
        cause = yard.services.why(name)
        service = yard.services.get(name)
        firing = alert.firing(yard, service) if cause is None else ()
    state = service.status.state
    if form is output.Format.JSON:
        output.data_json(cause.model_dump(mode="json") if cause else None)
    elif cause is not None:
        _show(cause)
    elif state is ServiceState.DELETING:
        output.data(f"{name} is being deleted")
    else:
        _show_ready(name, firing)
    # One of the two may be news to the other: without a cause it is ready, unless it is going.
    if state is ServiceState.DELETING or (cause is not None and state is not ServiceState.HEALTHY):
        raise typer.Exit(1)


def _show_ready(name: str, firing: Sequence[Alert]) -> None:
    if not firing:
        output.data(f"{name} is ready: nothing is wrong")
        return
    output.data(f"{name} is ready, and fires alerts:")
    for one in firing:
        output.data(f"  {alert.in_words(one)}")


def _show(cause: Cause) -> None:
    output.data(f"{cause.message} ({cause.code})")
    for line in cause.evidence:
        output.data(f"  {line}")
    if cause.fix:
        output.data(f"fix: {cause.fix}")
