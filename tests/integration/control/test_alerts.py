"""Messages of alerts on their way: signed, only where they may go, at least once."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import trustme
from tests.docs.alerts_page import verifier
from tests.factories import WORKSPACE
from tests.receivers import Hooks, hooks, mails

from modelyard.control.outbox import Outbox
from modelyard.control.sending import mail as mail_module
from modelyard.control.sending import webhook
from modelyard.control.sending.base import NotSent
from modelyard.control.sending.mail import Mail, MailServer
from modelyard.control.sending.program import Program
from modelyard.control.sending.webhook import Webhooks
from modelyard.domain.alert import AlertMessage, Notice
from modelyard.domain.channel import ChannelKind, webhook_key, webhook_secret
from modelyard.store import Database
from modelyard.store.alerts import Route

MASTER = b"m" * 32
SECRET = webhook_secret(webhook_key(MASTER, "k1"))
HERE = {"127.0.0.1"}


def message(rule: str = "p99>500ms", type: Notice = Notice.FIRING) -> AlertMessage:
    now = datetime.now(UTC)
    return AlertMessage(
        id=uuid4(),
        type=type,
        workspace=WORKSPACE,
        service="digits",
        rule=rule,
        at=now,
        since=now,
        text="digits: it is slow",
    )


def to(address: str, kind: ChannelKind = ChannelKind.WEBHOOK) -> Route:
    return Route(WORKSPACE, "ops", kind, address, "k1")


@pytest.fixture
def receiver() -> Iterator[Hooks]:
    with hooks() as found:
        yield found


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def serving(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


class TestWebhooks:
    def test_arrives_signed(self, receiver: Hooks) -> None:
        sent = message()
        Webhooks(MASTER, HERE).send(to(receiver.url), sent)
        [posted] = receiver.got
        assert posted.path == "/hook?to=me"
        assert AlertMessage.model_validate_json(posted.body) == sent
        assert json.loads(posted.body)["text"] == "digits: it is slow"
        assert verifier(SECRET)(posted.headers, posted.body)

    def test_changed_old_or_repeated_ones_are_found_out(self, receiver: Hooks) -> None:
        Webhooks(MASTER, HERE).send(to(receiver.url), message())
        Webhooks(MASTER, HERE, clock=lambda: 1.6e9).send(to(receiver.url), message())
        new, old = receiver.got
        is_genuine = verifier(SECRET)
        assert not is_genuine(new.headers, new.body + b" ")
        assert not is_genuine(new.headers | {"Webhook-Timestamp": "1"}, new.body)
        assert not is_genuine(new.headers | {"Webhook-Id": str(uuid4())}, new.body)
        assert not is_genuine(old.headers, old.body)
        assert not verifier(webhook_secret(b"x" * 32))(new.headers, new.body)
        assert is_genuine(new.headers, new.body)
        assert not is_genuine(new.headers, new.body)

    def test_goes_to_the_address_that_was_looked_at(
        self, authority: trustme.CA, trusting: ssl.SSLContext
    ) -> None:
        """The name is looked up once, and the certificate is for the name."""
        asked: list[str] = []

        def ask(host: str, port: int) -> list[str]:
            asked.append(host)
            return ["127.0.0.1"]

        name = "hooks.example.org"
        with hooks(serving(authority, name)) as receiver:
            url = f"https://{name}:{receiver.port}/"
            Webhooks(MASTER, {name}, ask, trusting).send(to(url), message())
            assert asked == [name]
            assert receiver.got[0].headers["Host"] == f"{name}:{receiver.port}"
            other = f"https://other.example.org:{receiver.port}/"
            with pytest.raises(NotSent, match="its certificate is not valid"):
                Webhooks(MASTER, {"*"}, ask, trusting).send(to(other), message())
            with pytest.raises(NotSent, match="its certificate is not valid"):
                Webhooks(MASTER, {name}, ask).send(to(url), message())
            with pytest.raises(NotSent, match="not a public one"):
                Webhooks(MASTER, (), ask, trusting).send(to(url), message())
            assert len(receiver.got) == 1

    def test_is_not_led_elsewhere(self, receiver: Hooks) -> None:
        receiver.statuses = [302, 307, 500]
        for said in ("302, and redirects are not followed", "307", "answered with 500"):
            with pytest.raises(NotSent, match=said):
                Webhooks(MASTER, HERE).send(to(receiver.url), message())
        assert [posted.path for posted in receiver.got] == ["/hook?to=me"] * 3

    def test_settings_that_changed_since(self, receiver: Hooks) -> None:
        with pytest.raises(NotSent, match="`https://"):
            Webhooks(MASTER, ()).send(to(receiver.url), message())
        assert receiver.got == []

    def test_one_that_speaks_slowly_or_never(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(webhook, "PATIENCE", 0.5)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
            ended = threading.Event()

            def drip() -> None:
                connection, _ = listener.accept()
                with connection:
                    while not ended.wait(0.05):
                        try:
                            connection.sendall(b"H")
                        except OSError:
                            return

            thread = threading.Thread(target=drip)
            thread.start()
            with pytest.raises(NotSent, match=r"in time|cannot be reached"):
                Webhooks(MASTER, HERE).send(to(url), message())
            ended.set()
            thread.join()
        # Reset where somebody else has the port by now.
        with pytest.raises(NotSent, match=r"be reached: Connection (refused|reset)"):
            Webhooks(MASTER, HERE).send(to(url), message())


class TestMail:
    def test_over_tls_with_a_password(
        self,
        tmp_path: Path,
        authority: trustme.CA,
        trusting: ssl.SSLContext,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        caplog.set_level(logging.DEBUG)
        (tmp_path / "password").write_text("hunter2\n")
        sent = message()
        with mails(serving(authority, "127.0.0.1"), "me", "hunter2") as server:
            here = MailServer("127.0.0.1", server.port, False, "me")
            mail = Mail(here, "yard@example.org", tmp_path / "password", trusting)
            mail.send(to("ops@example.org", ChannelKind.EMAIL), sent)
            assert server.encrypted
            assert f"Message-ID: <{sent.id}@modelyard.invalid>" in server.got[0]
            assert "digits: it is slow" in server.got[0]
            (tmp_path / "password").write_text("wrong")
            with pytest.raises(NotSent, match="refused it with 535") as refused:
                mail.send(to("ops@example.org", ChannelKind.EMAIL), sent)
            assert "wrong" not in str(refused.value)
            stranger = Mail(here, "yard@example.org", tmp_path / "password")
            with pytest.raises(NotSent, match="certificate is not valid"):
                stranger.send(to("ops@example.org", ChannelKind.EMAIL), sent)
            assert len(server.logins) == 2  # nobody logs in where the server is a stranger
        assert "hunter2" not in caplog.text

    def test_without_tls_on_this_machine_only(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with mails() as server:
            here = MailServer("127.0.0.1", server.port, False)
            Mail(here, "yard@example.org").send(to("a@example.org", ChannelKind.EMAIL), message())
            assert len(server.got) == 1
            monkeypatch.setattr(mail_module, "_LOCAL", ())  # as if it were elsewhere
            with pytest.raises(NotSent, match="refused it"):
                Mail(here, "yard@example.org").send(
                    to("a@example.org", ChannelKind.EMAIL), message()
                )
            assert len(server.got) == 1
        with pytest.raises(NotSent, match="cannot be reached"):
            Mail(here, "yard@example.org").send(to("a@example.org", ChannelKind.EMAIL), message())


class TestProgram:
    def test_reads_the_message(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MODELYARD_TOKEN", "secret")
        script = "import os, sys; open(sys.argv[1], 'w').write(sys.stdin.read() + str(os.environ))"
        sent = message()
        Program([sys.executable, "-c", script, str(tmp_path / "got")]).send(to("x"), sent)
        got = (tmp_path / "got").read_text()
        assert got.startswith(sent.model_dump_json())
        assert "MODELYARD_TOKEN" not in got

    def test_what_goes_wrong(self) -> None:
        with pytest.raises(NotSent, match="exit status 3"):
            Program([sys.executable, "-c", "raise SystemExit(3)"]).send(to("x"), message())
        with pytest.raises(NotSent, match="No such file"):
            Program(["/nowhere/at-all"]).send(to("x"), message())
        hangs = "import time, sys; print('x' * 1_000_000); time.sleep(600)"
        with pytest.raises(NotSent, match="did not end in"):
            Program([sys.executable, "-c", hangs], patience=1.0).send(to("x"), message())


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'yard.db'}")
    database.migrate()
    yield database
    database.close()


def post(database: Database, channel: str, *messages: AlertMessage) -> list[UUID]:
    with database.write() as tx:
        for one in messages:
            tx.alerts.post(WORKSPACE, channel, one)
    return [one.id for one in messages]


def add_channel(database: Database, name: str, url: str) -> None:
    with database.write() as tx:
        tx.alerts.add_channel(WORKSPACE, name, ChannelKind.WEBHOOK, url, "k1")


class TestOutbox:
    def test_what_fails_is_repeated_with_the_same_id(
        self, database: Database, receiver: Hooks, tmp_path: Path
    ) -> None:
        clock = [datetime.now(UTC)]
        late = Database(f"sqlite:///{tmp_path / 'yard.db'}", clock=lambda: clock[0])
        add_channel(late, "ops", receiver.url)
        [first] = post(late, "ops", message())
        outbox = Outbox(late, {ChannelKind.WEBHOOK: Webhooks(MASTER, HERE)}, clock=lambda: clock[0])
        receiver.statuses = [500, 503]
        outbox.deliver()
        outbox.deliver()  # not yet
        assert len(receiver.got) == 1
        for _ in range(3):
            clock[0] += timedelta(minutes=1)
            outbox.deliver()
        assert [json.loads(posted.body)["id"] for posted in receiver.got] == [str(first)] * 3
        with late.read() as tx:
            [channel] = tx.alerts.channels(WORKSPACE)
        assert (channel.delivered, channel.failed, channel.waiting, channel.error) == (1, 2, 0, "")
        late.close()

    def test_a_dead_channel_delays_nobody_and_is_given_up(
        self, database: Database, receiver: Hooks, tmp_path: Path
    ) -> None:
        clock = [datetime.now(UTC)]
        late = Database(f"sqlite:///{tmp_path / 'yard.db'}", clock=lambda: clock[0])
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        add_channel(late, "dead", f"http://127.0.0.1:{port}/")
        add_channel(late, "ops", receiver.url)
        for rule in ("p99>1s", "p99>2s"):
            post(late, "dead", message(rule))
            post(late, "ops", message(rule))
        outbox = Outbox(late, {ChannelKind.WEBHOOK: Webhooks(MASTER, HERE)}, clock=lambda: clock[0])
        outbox.deliver()
        assert len(receiver.got) == 2
        with late.read() as tx:
            dead = tx.alerts.channels(WORKSPACE)[0]
        assert (dead.failed, dead.waiting) == (1, 2)  # the second would not have arrived either
        assert dead.error == "it cannot be reached: Connection refused"
        clock[0] += timedelta(days=1, minutes=1)
        outbox.deliver()
        outbox.deliver()
        with late.read() as tx:
            dead = tx.alerts.channels(WORKSPACE)[0]
        assert (dead.given_up, dead.waiting) == (2, 0)
        late.close()

    def test_a_dead_channel_with_much_to_be_sent_hides_no_other(self, database: Database) -> None:
        add_channel(database, "dead", "http://127.0.0.1:1/")
        add_channel(database, "ops", "http://127.0.0.1:2/")
        post(database, "dead", *(message(f"p99>{number}s") for number in range(1, 30)))
        [news] = post(database, "ops", message())
        with database.read() as tx:
            due = tx.alerts.due(20)
        assert [parcel.route.name for parcel in due] == ["dead"] * 20 + ["ops"]
        assert due[-1].message.id == news

    def test_the_server_is_killed_before_it_knows_that_it_arrived(
        self, database: Database, receiver: Hooks, tmp_path: Path
    ) -> None:
        add_channel(database, "ops", receiver.url)
        [sent] = post(database, "ops", message())
        program = f"""
from modelyard.control.outbox import Outbox
from modelyard.control.sending.webhook import Webhooks
from modelyard.domain.channel import ChannelKind
from modelyard.store import Database

outbox = Outbox(
    Database("sqlite:///{tmp_path / "yard.db"}"),
    {{ChannelKind.WEBHOOK: Webhooks({MASTER!r}, {HERE!r})}},
)
outbox.deliver()
"""
        arrived, killed = threading.Event(), threading.Event()

        def hold(posted: object) -> None:
            arrived.set()
            assert killed.wait(60)

        receiver.on_request = hold
        process = subprocess.Popen([sys.executable, "-c", program])
        assert arrived.wait(60)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        killed.set()
        receiver.wait_for(1)
        Outbox(database, {ChannelKind.WEBHOOK: Webhooks(MASTER, HERE)}).deliver()
        ids = [json.loads(posted.body)["id"] for posted in receiver.got]
        assert ids == [str(sent)] * 2
        is_genuine = verifier(SECRET)
        assert [is_genuine(one.headers, one.body) for one in receiver.got] == [True, False]

    def test_runs_until_it_is_stopped(self, database: Database, receiver: Hooks) -> None:
        add_channel(database, "ops", receiver.url)
        outbox = Outbox(database, {ChannelKind.WEBHOOK: Webhooks(MASTER, HERE)})
        outbox.start()
        post(database, "ops", message())
        outbox.wake()
        receiver.wait_for(1)
        outbox.stop()
