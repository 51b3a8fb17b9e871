"""E-mail, through the server that the settings name."""

from __future__ import annotations

import ssl
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path
from smtplib import SMTP, SMTP_SSL, SMTPException, SMTPResponseException
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from modelyard.control.sending.base import NotSent
from modelyard.domain.alert import AlertMessage, Notice
from modelyard.errors import InvalidRequest
from modelyard.store.alerts import Route

_STEP = 10.0
"""Seconds that one answer may take."""
_PORTS = {"smtps": 465, "smtp": 587}
_LOCAL = ("localhost", "127.0.0.1", "::1")
_SUBJECTS = {
    Notice.FIRING: "fires",
    Notice.RESOLVED: "is over",
    Notice.UNWATCHED: "is no longer watched",
}


class MailServer(NamedTuple):
    """Who takes e-mail from us."""

    host: str
    port: int
    encrypted: bool
    """TLS from the first byte on; else it begins with STARTTLS, but on this machine."""
    user: str = ""


def read_server(text: str) -> MailServer:
    """Read `smtps://user@mail.example.org`, or `smtp://…` with STARTTLS.

    Raises:
        InvalidRequest: It is neither.
    """
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        raise _no_server() from None
    extra = url.path not in ("", "/") or url.query or url.fragment or url.password is not None
    if url.scheme not in _PORTS or not url.hostname or extra:
        raise _no_server()
    encrypted = url.scheme == "smtps"
    return MailServer(
        url.hostname, port or _PORTS[url.scheme], encrypted, unquote(url.username or "")
    )


def _no_server() -> InvalidRequest:
    return InvalidRequest(
        "MODELYARD_ALERT_SMTP is not a mail server",
        hint="write `smtps://user@mail.example.org` or `smtp://user@mail.example.org:587`; the "
        "password is in the file that MODELYARD_ALERT_SMTP_PASSWORD names",
    )


class Mail:
    """Sends messages by e-mail.

    Args:
        server: Who takes them.
        sender: The address that they are from.
        password: File with the password of the server's user.
        context: What certificates are checked with; unset: the authorities of the system.
    """

    def __init__(
        self,
        server: MailServer,
        sender: str,
        password: Path | None = None,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._server = server
        self._sender = sender
        self._password = password
        self._context = context

    def send(self, route: Route, message: AlertMessage) -> None:
        """Hand it to the mail server."""
        password = self._secret()
        try:
            with self._connect() as server:
                if self._server.user:
                    server.login(self._server.user, password)
                server.send_message(compose_mail(self._sender, route.address, message))
        except ssl.SSLCertVerificationError as error:
            raise NotSent(
                f"the mail server's certificate is not valid: {error.verify_message}"
            ) from None
        except SMTPResponseException as error:
            raise NotSent(f"the mail server refused it with {error.smtp_code}") from None
        except SMTPException as error:
            raise NotSent(f"the mail server refused it ({type(error).__name__})") from None
        except OSError as error:
            reason = error.strerror or "it did not answer in time"
            raise NotSent(f"the mail server cannot be reached: {reason}") from None

    def _connect(self) -> SMTP:
        host, port, encrypted, _ = self._server
        context = self._context or ssl.create_default_context()
        if encrypted:
            return SMTP_SSL(host, port, timeout=_STEP, context=context)
        server = SMTP(host, port, timeout=_STEP)
        try:
            server.ehlo_or_helo_if_needed()
            if server.has_extn("starttls") or host not in _LOCAL:
                server.starttls(context=context)
        except BaseException:
            server.close()
            raise
        return server

    def _secret(self) -> str:
        if self._password is None:
            return ""
        try:
            return self._password.read_text().strip()
        except (OSError, UnicodeDecodeError):
            raise NotSent(
                "the file that MODELYARD_ALERT_SMTP_PASSWORD names cannot be read"
            ) from None


def _subject(message: AlertMessage) -> str:
    if message.type is Notice.TEST:
        return "a test: alerts arrive here"
    return f"{message.service}: {message.rule} {_SUBJECTS[message.type]}"


def compose_mail(sender: str, recipient: str, message: AlertMessage) -> EmailMessage:
    """A message as e-mail; with the same id in every attempt."""
    mail = EmailMessage()
    mail["From"], mail["To"] = sender, recipient
    mail["Subject"] = f"[Modelyard] {_subject(message)}"
    mail["Date"] = format_datetime(message.at)
    mail["Message-ID"] = f"<{message.id}@modelyard.invalid>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(f"{message.text}\n\n`modelyard alert list` shows how alerts stand.\n")
    return mail
