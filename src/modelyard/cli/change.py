"""`modelyard service update`, and the other commands that change what a service is asked to be."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any

import typer

from modelyard.cli import output, parameters, progress, service_view, session, shared
from modelyard.domain.change import ServiceChange, traffic_text
from modelyard.domain.change import altered as altered_settings

NewImage = Annotated[
    str | None,
    typer.Option("--image", help="Image to run instead, `name[:version]`.", metavar="REF"),
]


@shared.options(shared.SettingOptions)
def update(
    name: parameters.ServiceName,
    image: NewImage = None,
    canary: parameters.Canary = None,
    step_time: parameters.StepTime = None,
    shadow: parameters.Shadow = None,
    replay: parameters.Replay = None,
    max_diff: parameters.MaxDiff = None,
    ignore: parameters.Ignore = None,
    altered: parameters.Altered = False,
    wait: parameters.Wait = True,
    form: output.Output = output.Format.TABLE,
    **settings: Any,
) -> None:
    """Change image or settings without a failed request.

    What is absent stays. With --canary or --shadow the change is tried beside what serves, until
    it is promoted or rolled back. With --replay it is only made if captured requests are answered
    as before.
    """
    if replay is None and (ignore or altered):
        raise typer.BadParameter(
            "it is of use with --replay only", param_hint="--ignore" if ignore else "--altered"
        )
    if image is None and not settings:
        raise parameters.nothing_given("give --image or a setting")
    with session.client() as yard, progress.few_lines() as on_log:
        service = yard.services.update(
            name,
            image,
            canary=None if canary is None else canary.split(","),
            step_time=step_time,
            shadow=shadow,
            replay=None
            if replay is None
            else {
                "requests": replay,
                "altered": altered,
                "tolerance": {"ignore": ignore or []},
            },
            max_diff=max_diff,
            wait=wait,
            on_log=on_log,
            **settings,
        )
    service_view.show(service, form)


def scale(
    name: parameters.ServiceName,
    replicas: Annotated[int, typer.Argument(help="Running copies.", min=0, metavar="N")],
    wait: parameters.Wait = True,
    form: output.Output = output.Format.TABLE,
) -> None:
    """Change the number of replicas.

    Those that stay are not restarted. None at all, until a request comes, is `service update
    --replicas 0 --max-replicas N`.
    """
    with session.client() as yard:
        service = yard.services.scale(name, replicas, wait=wait, on_log=progress.log_line)
    service_view.show(service, form)


def split(
    name: parameters.ServiceName,
    shares: Annotated[
        list[str], typer.Argument(help="Images and their shares, `digits:3=80%`.", metavar="SHARE")
    ],
    wait: parameters.Wait = True,
    form: output.Output = output.Format.TABLE,
) -> None:
    """Share the traffic of a service among several images.

    Shares are 100 % together: `modelyard service split digits digits:3=80% digits:4=20%`.
    """
    with session.client() as yard:
        service = yard.services.split(
            name, parameters.pairs(shares) or {}, wait=wait, on_log=progress.log_line
        )
    service_view.show(service, form)


def promote(
    name: parameters.ServiceName,
    wait: parameters.Wait = True,
    form: output.Output = output.Format.TABLE,
) -> None:
    """Give the candidate of a canary all of the traffic.

    What served before is retired when the candidate has all its replicas.
    """
    with session.client() as yard:
        service = yard.services.promote(name, wait=wait, on_log=progress.log_line)
    service_view.show(service, form)


def rollback(
    name: parameters.ServiceName,
    wait: parameters.Wait = True,
    form: output.Output = output.Format.TABLE,
) -> None:
    """Go back to what served before, without a failed request.

    Drops the candidate of a canary at once. Given twice without one, it goes forth again.
    """
    with session.client() as yard:
        service = yard.services.rollback(name, wait=wait, on_log=progress.log_line)
    service_view.show(service, form)


def history(name: parameters.ServiceName, form: output.Output = output.Format.TABLE) -> None:
    """Show what a service was asked to be, and what became of it."""
    with session.client() as yard:
        changes = yard.services.history(name)
    if form is output.Format.JSON:
        output.data_json([change.model_dump(mode="json") for change in changes])
        return
    before = {later.generation: earlier for later, earlier in pairwise(changes)}
    titles = ("GENERATION", "AT (UTC)", "OUTCOME", "BY", "IMAGE")
    output.table_with_notes(
        titles, [(_row(one), _notes(one, before.get(one.generation))) for one in changes]
    )


def _row(change: ServiceChange) -> list[output.Cell]:
    return [
        *(change.generation, change.at, change.outcome, change.by or "modelyard"),
        traffic_text(change.traffic) or change.image,
    ]


def _notes(change: ServiceChange, before: ServiceChange | None) -> list[str]:
    """How it was to get there, what it altered, and why it was made or failed."""
    return [change.rollout, *altered_settings(change, before), change.reason]
