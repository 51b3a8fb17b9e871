"""Alerts: how a rule of a service stands, and what is told of that. Pure.

What a look has found decides, with what was so before, whether the alert fires and whether anybody
is told.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from modelyard.domain.alert_findings import Finding
from modelyard.domain.values import Value

CALM = timedelta(minutes=5)
"""How long nothing must be wrong until an alert ends."""
REMIND = timedelta(hours=1)
"""Least time between two messages that say that an alert fires, unless one between them said that
it is over; and between two that say that. So there are three in an hour at most."""


class AlertState(StrEnum):
    """How a rule stands."""

    OK = "ok"
    FIRING = "firing"
    NO_DATA = "no data"
    """There was not enough to say; one that fires goes on to."""


class Alert(Value):
    """A rule of a service, and how it stands."""

    service: str
    rule: str
    state: AlertState
    since: datetime
    sentence: str
    """What was found last; of one that fires, what is wrong."""
    value: float | None = None
    """What was measured: a share from 0 to 1, seconds, or a number."""
    found_at: datetime | None = None
    """When that was found: there may have been nothing new to measure since. Null before the first
    look of a server that writes it down."""
    checked_at: datetime
    """When it was looked at last."""
    fired_at: datetime | None = None
    """When it began to fire, the last time that it did."""
    calm_since: datetime | None = None
    """Since when nothing is wrong, while it still fires."""
    told: bool = False
    """The last that channels were told is that it fires."""
    told_at: datetime | None = None
    """When they were told so last, this time or before."""
    resolved_at: datetime | None = None
    """When they were told last that it is over."""


class Notice(StrEnum):
    """What a message is about."""

    FIRING = "alert.firing"
    RESOLVED = "alert.resolved"
    UNWATCHED = "alert.unwatched"
    """The rule was taken away while it fired: nobody knows whether all is well."""
    TEST = "alert.test"


def step(
    before: Alert | None, service: str, rule: str, finding: Finding, now: datetime
) -> tuple[Alert, Notice | None]:
    """How an alert stands after a look at its service, and what is to be told.

    It begins to fire at once, and ends when nothing was wrong for `CALM`. What was told last is
    never wrong for long: that it fires is told at once where nothing of it was told before, or that
    it is over; else once per `REMIND`. That it is over waits until `REMIND` after the last time, so
    what comes and goes counts as what goes on. Who cannot tell goes back to `untold`.
    """
    alert = before or Alert(
        service=service,
        rule=rule,
        state=AlertState.NO_DATA,
        since=now,
        sentence=finding.sentence,
        checked_at=now,
    )
    if alert.state is AlertState.FIRING:
        return _while_firing(alert, finding, now)
    state = _STATES[finding.is_wrong]
    after = alert.model_copy(
        update={
            "state": state,
            "since": alert.since if state is alert.state else now,
            "sentence": finding.sentence,
            "value": finding.value,
            "found_at": now,
            "checked_at": now,
        }
    )
    if state is not AlertState.FIRING:
        return _tell_end(after, now)
    return _tell(after.model_copy(update={"fired_at": now}), now)


_STATES = {True: AlertState.FIRING, False: AlertState.OK, None: AlertState.NO_DATA}


def _while_firing(alert: Alert, finding: Finding, now: datetime) -> tuple[Alert, Notice | None]:
    if finding.is_wrong is None:
        return alert.model_copy(update={"checked_at": now}), None
    if finding.is_wrong:
        seen = {"sentence": finding.sentence, "value": finding.value, "found_at": now}
        update = {**seen, "calm_since": None, "checked_at": now}
        return _tell(alert.model_copy(update=update), now)
    calm_since = alert.calm_since or now
    if now - calm_since < CALM:
        return alert.model_copy(update={"calm_since": calm_since, "checked_at": now}), None
    return end(alert, finding.sentence, now, finding.value)


def end(
    alert: Alert, sentence: str, now: datetime, value: float | None = None
) -> tuple[Alert, Notice | None]:
    """An alert that fires does so no more; told to those who were told that it does."""
    ended = alert.model_copy(
        update={
            "state": AlertState.OK,
            "since": now,
            "sentence": sentence,
            "value": value,
            "found_at": now,
            "checked_at": now,
            "calm_since": None,
        }
    )
    return _tell_end(ended, now)


def leave(alert: Alert, now: datetime) -> tuple[Alert, Notice | None]:
    """An alert whose rule or service is taken away; told to those who were told that it fires."""
    left = alert.model_copy(update={"checked_at": now})
    if not alert.told:
        return left, None
    return left, Notice.UNWATCHED if alert.state is AlertState.FIRING else Notice.RESOLVED


def _tell(alert: Alert, now: datetime) -> tuple[Alert, Notice | None]:
    if alert.told and alert.told_at is not None and now - alert.told_at < REMIND:
        return alert, None
    return alert.model_copy(update={"told": True, "told_at": now}), Notice.FIRING


def _tell_end(alert: Alert, now: datetime) -> tuple[Alert, Notice | None]:
    is_early = alert.resolved_at is not None and now - alert.resolved_at < REMIND
    if not alert.told or is_early:
        return alert, None
    return alert.model_copy(update={"told": False, "resolved_at": now}), Notice.RESOLVED


def untold(before: Alert | None, after: Alert) -> Alert:
    """The same alert when nobody could be told: it is tried again with the next look."""
    told = {name: getattr(before, name, None) for name in ("told_at", "resolved_at")}
    return after.model_copy(update={**told, "told": before is not None and before.told})


class AlertMessage(Value):
    """What channels are told."""

    id: UUID
    """The same in every attempt: who has seen it can leave it out."""
    type: Notice
    workspace: str
    service: str
    rule: str
    at: datetime
    since: datetime
    """When the alert began to fire, or ended."""
    text: str
    """The whole of it, for people."""
    value: float | None = None


def compose_message(id_: UUID, workspace: str, alert: Alert, notice: Notice) -> AlertMessage:
    """What is told of an alert."""
    return AlertMessage(
        id=id_,
        type=notice,
        workspace=workspace,
        service=alert.service,
        rule=alert.rule,
        at=alert.checked_at,
        since=alert.since,
        text=_text(alert, notice),
        value=alert.value,
    )


def _text(alert: Alert, notice: Notice) -> str:
    if notice is Notice.RESOLVED:
        began = f"{alert.fired_at:%Y-%m-%d %H:%M} UTC" if alert.fired_at else "before"
        return f"{alert.service}: {alert.rule} is over: {alert.sentence} (it fired since {began})"
    if notice is Notice.UNWATCHED:
        began = f"{alert.since:%Y-%m-%d %H:%M} UTC"
        return f"{alert.service} is no longer watched: {alert.rule}, firing since {began}, is gone"
    again = alert.checked_at - alert.since >= REMIND
    still = f", since {alert.since:%Y-%m-%d %H:%M} UTC" if again else ""
    return f"{alert.service}: {alert.sentence} ({alert.rule}{still})"
