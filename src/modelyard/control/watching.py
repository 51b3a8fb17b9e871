"""Looks at services now and then, and posts a message where an alert begins, lasts or ends."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Set
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from modelyard.control.judging import Judge
from modelyard.control.rounds import a_round
from modelyard.domain.alert import (
    Alert,
    Notice,
    compose_message,
    leave,
    step,
    untold,
)
from modelyard.domain.alert_findings import (
    Finding,
    Mark,
    find_drops,
    find_errors,
    find_silence,
    find_slow,
    mark,
)
from modelyard.domain.alert_rules import Rule, Signal, parse_rule
from modelyard.domain.figures import add
from modelyard.domain.service import Service, ServiceState
from modelyard.errors import ModelyardError
from modelyard.store import Database, Transaction
from modelyard.store.alerts import Standing

PERIOD = 10.0
"""Seconds between two looks."""
MOST_AN_HOUR = 30
"""Messages that something fires that a channel gets in an hour; the others wait their turn."""
SETTLING = timedelta(minutes=3)
"""After a start the server hears from agents first what has happened meanwhile."""
JUDGED_EVERY = timedelta(minutes=10)
"""Least time between two looks at what has to be worked out."""
_PATIENCE = 5.0
"""Seconds that the end of the server waits for a look."""
_MINUTE = timedelta(minutes=1)
_HOUR = timedelta(hours=1)
_KEEP_MESSAGES = timedelta(days=7)
_logger = logging.getLogger("modelyard.alerts")

Key = tuple[str, str, str]
"""Workspace, service, rule."""


class Watching:
    """Looks at services with alerts: one thread at what was counted, one works out the rest.

    Args:
        database: What was counted, and how alerts stand.
        posted: Called when there is something to send.
        judges: Who works out what is not counted, one rule at a time: it may take a while.
        clock: The time.
    """

    def __init__(
        self,
        database: Database,
        posted: Callable[[], None],
        judges: Mapping[Signal, Judge],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._posted = posted
        self._judges = judges
        self._clock = clock
        self._began = clock()
        self._stopping = threading.Event()
        self._threads = tuple(
            threading.Thread(target=self._run, args=[work], name=name, daemon=True)
            for name, work in (("alerts", self.look), ("judged-alerts", self.judge))
        )

    def start(self) -> None:
        """Begin to look."""
        self._began = self._clock()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End after the look that is under way, if that is soon."""
        self._stopping.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(_PATIENCE)

    def _run(self, work: Callable[[], None]) -> None:
        while not self._stopping.wait(PERIOD):
            with a_round(_logger):
                work()

    def look(self) -> None:
        """Look at what was counted of all services once."""
        now = self._clock()
        watched: set[Key] = set()
        found: dict[Key, tuple[Finding, tuple[Mark, ...]]] = {}
        with self._database.read() as tx:
            standing = tx.alerts.standing()
            hosts = _hosts(tx)
            for key, (service, rule) in _rules(tx).items():
                watched.add(key)
                if rule.signal not in self._judges:
                    marks = standing[key].marks if key in standing else ()
                    found[key] = self._find(tx, service, rule, marks, hosts.get(service.id), now)
        self._apply(standing, found, standing.keys() - watched, now)

    def judge(self) -> None:
        """Work out the one rule that was not for longest, if it is time."""
        now = self._clock()
        with self._database.read() as tx:
            standing = tx.alerts.standing()
            judged = {k: one for k, one in _rules(tx).items() if one[1].signal in self._judges}
        overdue = _most_overdue(judged, standing, now)
        if overdue is None:
            return
        finding = self._judge(*judged[overdue], now)
        with self._database.read() as tx:
            if overdue not in _rules(tx):  # it was taken away meanwhile, and is done with
                return
        self._apply(standing, {overdue: (finding, ())}, set(), now)

    def _judge(self, service: Service, rule: Rule, now: datetime) -> Finding:
        try:
            return self._judges[rule.signal].find(service, rule, now)
        except ModelyardError as error:
            return Finding(None, error.message)
        except Exception:
            _logger.exception("%s of %s", rule.signal, service.name)
            return Finding(None, "it cannot be worked out; the server's log has the reason")

    def _apply(
        self,
        standing: Mapping[Key, Standing],
        found: Mapping[Key, tuple[Finding, tuple[Mark, ...]]],
        gone: Set[Key],
        now: datetime,
    ) -> None:
        """Keep how alerts stand now, and post what is news, in one transaction."""
        if not found and not gone:
            return
        known = {key: one.alert for key, one in standing.items()}
        with self._database.write() as tx:
            for key in sorted(found, key=lambda key: _was_told(known.get(key))):
                finding, marks = found[key]
                before = known.get(key)
                after, notice = step(before, *key[1:], finding, now)
                if notice is not None and not self._post(tx, key[0], after, notice):
                    after = untold(before, after)
                tx.alerts.keep(key[0], Standing(after, marks))
            for key in gone:
                self._leave(tx, key, known[key], now)
            tx.alerts.expire(now - _KEEP_MESSAGES)
        self._posted()

    def _find(
        self,
        tx: Transaction,
        service: Service,
        rule: Rule,
        marks: tuple[Mark, ...],
        heard: datetime | None,
        now: datetime,
    ) -> tuple[Finding, tuple[Mark, ...]]:
        match rule.signal:
            case Signal.CAPTURE_DROPS:
                if service.name not in tx.captured.services(service.workspace):
                    return find_drops(rule, marks), marks
                totals = tx.captured.totals(service.workspace, service.name)
                marks = mark(rule, marks, Mark(now, totals.dropped))
                return find_drops(rule, marks), marks
            case Signal.SILENCE:
                return self._silence(tx, service, rule, heard, now), ()
        minutes = tx.minutes.read(service.id, now - rule.span - _MINUTE)
        find = find_errors if rule.signal is Signal.ERROR_RATE else find_slow
        return find(rule, add(figures for _, figures in minutes)), ()

    def _silence(
        self, tx: Transaction, service: Service, rule: Rule, heard: datetime | None, now: datetime
    ) -> Finding:
        if now - service.created_at < rule.span:
            return Finding(None, "the service is younger than that")
        if now - self._began < SETTLING:
            return Finding(None, "the server has just been started")
        minutes = tx.minutes.read(service.id, now - rule.span - 2 * _MINUTE)
        return find_silence(rule, minutes, heard, now)

    def _post(self, tx: Transaction, workspace: str, alert: Alert, notice: Notice) -> bool:
        """Have all channels told; False: there are none, or they have had too much for now."""
        channels = [one.name for one in tx.alerts.channels(workspace)]
        if notice is Notice.FIRING:
            since = alert.checked_at - _HOUR
            counts = [tx.alerts.posted(workspace, channel, since) for channel in channels]
            if max(counts, default=MOST_AN_HOUR) >= MOST_AN_HOUR:
                return False
        for channel in channels:
            message = compose_message(uuid4(), workspace, alert, notice)
            tx.alerts.post(workspace, channel, message)
        return True

    def _leave(self, tx: Transaction, key: Key, alert: Alert, now: datetime) -> None:
        """A rule is gone, or its service is: whoever was told that it fires is told that, too."""
        left, notice = leave(alert, now)
        if notice is not None:
            self._post(tx, key[0], left, notice)
        tx.alerts.drop(*key)


def _most_overdue(
    judged: Iterable[Key], standing: Mapping[Key, Standing], now: datetime
) -> Key | None:
    """The rule that was not worked out for longest; None: none of them is due."""
    checked = {
        key: standing[key].alert.checked_at if key in standing else now - JUDGED_EVERY
        for key in judged
    }
    due = [key for key, at in checked.items() if now - at >= JUDGED_EVERY]
    return min(due, key=lambda key: checked[key], default=None)


def _rules(tx: Transaction) -> dict[Key, tuple[Service, Rule]]:
    """What is to be watched."""
    return {
        (service.workspace, service.name, text): (service, parse_rule(text))
        for service in tx.services.all()
        if service.status.state is not ServiceState.DELETING
        for text in service.settings.alerts
    }


def _was_told(alert: Alert | None) -> bool:
    """Whether it can wait: where not all can be told of, what is new comes first."""
    return alert is not None and alert.told


def _hosts(tx: Transaction) -> dict[UUID, datetime]:
    """When the host of each service was last heard of."""
    return {
        service: seen
        for agent, seen in tx.agents.last_seen().items()
        for service in tx.services.of_agent(agent)
    }
