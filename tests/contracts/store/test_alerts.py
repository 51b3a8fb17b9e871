"""What the store of alerts, channels and messages must do, on whatever database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from tests.factories import WORKSPACE

from modelyard.domain.alert import Alert, AlertMessage, AlertState, Notice
from modelyard.domain.alert_findings import Mark
from modelyard.domain.channel import ChannelKind
from modelyard.errors import Conflict, NotFound
from modelyard.store import Transaction
from modelyard.store.alerts import Standing

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def alert(service: str = "digits", rule: str = "p99>1s", **changes: object) -> Alert:
    fields = {
        "service": service,
        "rule": rule,
        "state": AlertState.OK,
        "since": NOW,
        "sentence": "it is fast",
        "checked_at": NOW,
    }
    return Alert.model_validate(fields | changes)


def message(rule: str = "p99>1s", type: Notice = Notice.FIRING) -> AlertMessage:
    return AlertMessage(
        id=uuid4(),
        type=type,
        workspace=WORKSPACE,
        service="digits",
        rule=rule,
        at=NOW,
        since=NOW,
        text="digits: it is slow",
    )


def add(tx: Transaction, name: str = "ops", workspace: str = WORKSPACE) -> None:
    tx.alerts.add_channel(workspace, name, ChannelKind.WEBHOOK, "https://a.example/", "k1")


class TestAlerts:
    def test_stand_as_they_were_kept(self, tx: Transaction, elsewhere: str) -> None:
        marks = (Mark(NOW, 7),)
        tx.alerts.keep(WORKSPACE, Standing(alert(), marks))
        tx.alerts.keep(WORKSPACE, Standing(alert("another")))
        tx.alerts.keep(elsewhere, Standing(alert()))
        firing = alert(state=AlertState.FIRING, told=True, told_at=NOW, value=2.5)
        tx.alerts.keep(WORKSPACE, Standing(firing, marks))
        found = tx.alerts.standing()
        assert found[WORKSPACE, "digits", "p99>1s"] == Standing(firing, marks)
        assert found[elsewhere, "digits", "p99>1s"].alert == alert()
        assert tx.alerts.list(WORKSPACE) == (alert("another"), firing)
        assert tx.alerts.list(WORKSPACE, "digits") == (firing,)

    def test_those_that_are_watched_no_more(self, tx: Transaction) -> None:
        tx.alerts.keep(WORKSPACE, Standing(alert()))
        tx.alerts.drop(WORKSPACE, "digits", "p99>1s")
        assert tx.alerts.standing() == {}


class TestChannels:
    def test_are_of_their_workspace(self, tx: Transaction, elsewhere: str) -> None:
        add(tx)
        add(tx, workspace=elsewhere)
        [channel] = tx.alerts.channels(WORKSPACE)
        assert (channel.name, channel.kind, channel.waiting) == ("ops", ChannelKind.WEBHOOK, 0)
        assert tx.alerts.route(WORKSPACE, "ops").key_id == "k1"
        with pytest.raises(Conflict, match="a channel `ops` already"):
            add(tx)
        tx.alerts.change_address(WORKSPACE, "ops", "https://b.example/")
        tx.alerts.delete_channel(elsewhere, "ops")
        assert tx.alerts.route(WORKSPACE, "ops").address == "https://b.example/"
        for call in (tx.alerts.route, tx.alerts.delete_channel):
            with pytest.raises(NotFound, match="no channel `ops`"):
                call(elsewhere, "ops")


class TestMessages:
    def test_wait_until_they_have_arrived(self, tx: Transaction) -> None:
        add(tx)
        first, second = message(), message("silence>1h")
        tx.alerts.post(WORKSPACE, "ops", first)
        tx.alerts.post(WORKSPACE, "ops", second)
        assert [parcel.message for parcel in tx.alerts.due(10)] == [first, second]
        tx.alerts.arrived(first.id)
        tx.alerts.failed(second.id, "a\0b", timedelta(hours=1))
        assert tx.alerts.due(10) == ()
        [channel] = tx.alerts.channels(WORKSPACE)
        assert (channel.delivered, channel.failed, channel.waiting) == (1, 1, 1)
        assert channel.error == "a\ufffdb"
        waiting = tx.alerts.next_at()
        assert waiting is not None
        assert waiting > datetime.now(UTC) + timedelta(minutes=59)
        tx.alerts.failed(second.id, "nobody is there", None)
        assert tx.alerts.next_at() is None
        assert tx.alerts.channels(WORKSPACE)[0].given_up == 1
        tx.alerts.expire(datetime.now(UTC) + timedelta(days=1))
        assert tx.alerts.posted(WORKSPACE, "ops", NOW - timedelta(days=1)) == 0

    def test_newer_news_take_the_place_of_older(self, tx: Transaction) -> None:
        add(tx)
        old, other, new = message(), message("silence>1h"), message(type=Notice.RESOLVED)
        for one in (old, other, new):
            tx.alerts.post(WORKSPACE, "ops", one)
        assert [parcel.message for parcel in tx.alerts.due(10)] == [other, new]
        tx.alerts.arrived(old.id)  # it was on its way: nobody minds
        tx.alerts.failed(old.id, "late", None)
        assert tx.alerts.channels(WORKSPACE)[0].delivered == 0
        assert (
            tx.alerts.posted(WORKSPACE, "ops", NOW - timedelta(seconds=1)) == 1
        )  # that one is over is not counted

    def test_go_with_their_channel(self, tx: Transaction) -> None:
        add(tx)
        add(tx, "others")
        for name in ("ops", "others"):
            tx.alerts.post(WORKSPACE, name, message())
        tx.alerts.delete_channel(WORKSPACE, "ops")
        assert [parcel.route.name for parcel in tx.alerts.due(10)] == ["others"]
        tx.alerts.expire(datetime.now(UTC) + timedelta(days=1))
        assert len(tx.alerts.due(10)) == 1  # what waits is not old
