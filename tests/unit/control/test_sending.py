"""Where messages may go, and what they look like; without a socket."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest

from modelyard.control.outbox import pause
from modelyard.control.sending.addresses import is_public, reachable
from modelyard.control.sending.base import NotSent
from modelyard.control.sending.mail import MailServer, compose_mail, read_server
from modelyard.control.sending.webhook import read_url, shown
from modelyard.domain.alert import AlertMessage, Notice
from modelyard.domain.channel import webhook_key, webhook_secret, webhook_signature
from modelyard.errors import InvalidRequest
from modelyard.schemas import AddChannel

MESSAGE = AlertMessage(
    id=UUID(int=7),
    type=Notice.FIRING,
    workspace="default",
    service="digits",
    rule="p99>500ms",
    at=datetime(2026, 3, 1, 12, tzinfo=UTC),
    since=datetime(2026, 3, 1, 12, tzinfo=UTC),
    text="digits: it is slow",
)

PRIVATE = [
    *("127.0.0.1", "127.8.9.10", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1"),
    *("169.254.169.254", "100.64.0.1", "100.127.255.255", "0.0.0.0", "0.1.2.3"),
    *("192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.0.1"),
    *("::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12:3456::1", "ff02::1"),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:a9fe:a9fe", "::127.0.0.1"),
    *("64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a00:1", "2002:7f00:1::", "2001:db8::1"),
    *("2002:a00:1::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "", "moon", "0x7f.1"),
]
PUBLIC = ["1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)
    with pytest.raises(NotSent, match="not a public one"):
        reachable("hooks.example.org", 443, (), lambda host, port: ["1.1.1.1", address])


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses(address: str) -> None:
    assert is_public(address)
    assert reachable("hooks.example.org", 443, (), lambda host, port: [address]) == (address,)


def test_private_hosts_that_are_allowed() -> None:
    def ask(host: str, port: int) -> list[str]:
        return ["10.0.0.1"]

    assert reachable("hooks.lan", 443, {"hooks.lan"}, ask) == ("10.0.0.1",)
    assert reachable("Hooks.LAN", 443, {"hooks.lan"}, ask) == ("10.0.0.1",)
    assert reachable("other.lan", 443, {"*"}, ask) == ("10.0.0.1",)
    with pytest.raises(NotSent, match=r"MODELYARD_ALERT_ALLOW_PRIVATE=other\.lan allows it"):
        reachable("other.lan", 443, {"hooks.lan"}, ask)


def test_hosts_that_nobody_knows() -> None:
    def ask(host: str, port: int) -> list[str]:
        raise OSError(-2, "Name or service not known")

    with pytest.raises(NotSent, match="is not known: Name or service not known"):
        reachable("hooks.example.org", 443, (), ask)
    with pytest.raises(NotSent, match="has no address"):
        reachable("hooks.example.org", 443, (), lambda host, port: [])


@pytest.mark.parametrize(
    "url",
    [
        *("http://hooks.example.org/", "https://me:secret@hooks.example.org/", "https:///path"),
        *("https://hooks.example.org:0/", "https://hooks.example.org:99999/", "ftp://a.example/"),
        *("file:///etc/passwd", "https://hooks.example.org/#here", "https://[::1/", "hooks"),
    ],
)
def test_urls_that_are_refused(url: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read_url(url, {"hooks.lan"})
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "url", ["https://a.example/a b", "https://a.example/\r\nX: y", "https://", "x" * 3000]
)
def test_urls_that_are_none(url: str) -> None:
    with pytest.raises(ValueError, match="webhook"):
        AddChannel(name="ops", webhook=url)


@pytest.mark.parametrize("host", ["127.0.0.1:18099", "[::1]", "[fe80::1%25eth0]", "10.0.0.1"])
def test_private_addresses_in_urls(host: str) -> None:
    with pytest.raises(InvalidRequest, match=r"not a public one.*MODELYARD_ALERT_ALLOW_PRIVATE="):
        read_url(f"https://{host}/x", {"hooks.lan"})
    assert read_url(f"https://{host}/x", {"*"}).path == "/x"


def test_urls() -> None:
    assert read_url("https://hooks.example.org:8443/a?b=c", ()).port == 8443
    assert read_url("http://hooks.lan/", {"hooks.lan"}).hostname == "hooks.lan"
    assert shown("https://hooks.example.org:8443/T0/secret?token=1") == (
        "https://hooks.example.org:8443/…"
    )


def test_signature_is_that_of_standard_webhooks() -> None:
    """The example of its specification."""
    import base64

    secret = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    body = b'{"test": 2432232314}'
    signature = webhook_signature(
        base64.b64decode(secret), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body
    )
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_keys_are_derived() -> None:
    assert webhook_key(b"m" * 32, "a") == webhook_key(b"m" * 32, "a")
    assert len({webhook_key(b"m" * 32, "a"), webhook_key(b"m" * 32, "b")}) == 2
    assert webhook_secret(b"\0" * 32).startswith("whsec_AAAA")


class TestMail:
    def test_servers(self) -> None:
        assert read_server("smtps://me%40example.org@mail.example.org") == MailServer(
            "mail.example.org", 465, True, "me@example.org"
        )
        assert read_server("smtp://localhost:2525/") == MailServer("localhost", 2525, False)

    @pytest.mark.parametrize(
        "text",
        ["mail.example.org", "https://mail.example.org", "smtp://me:secret@a.example", "smtp://"],
    )
    def test_servers_that_are_none(self, text: str) -> None:
        with pytest.raises(InvalidRequest, match="MODELYARD_ALERT_SMTP") as refused:
            read_server(text)
        assert "secret" not in str(refused.value)

    @pytest.mark.parametrize(
        "address", ["", "me", "me@", "@b", "a@b\r\nBcc: c@d", "a,b@c", "Me <a@b>", "a@.b", "a@b."]
    )
    def test_addresses_that_are_none(self, address: str) -> None:
        with pytest.raises(ValueError, match="email"):
            AddChannel(name="ops", email=address)

    def test_what_is_sent(self) -> None:
        mail = compose_mail("yard@example.org", "ops@example.org", MESSAGE)
        assert mail["Subject"] == "[Modelyard] digits: p99>500ms fires"
        tried = MESSAGE.model_copy(update={"type": Notice.TEST, "service": "none"})
        subject = compose_mail("yard@example.org", "ops@example.org", tried)["Subject"]
        assert subject == "[Modelyard] a test: alerts arrive here"
        assert mail["Message-ID"] == f"<{MESSAGE.id}@modelyard.invalid>"
        assert mail.get_content().startswith("digits: it is slow\n")


def test_pauses_grow_and_end() -> None:
    assert 5 <= pause(0) <= 10
    assert 40 <= pause(3) <= 80
    assert 450 <= pause(200) <= 900
