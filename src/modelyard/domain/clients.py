"""Callers who prove with a certificate who they are: by which names, and which names are let in.

Pure. A name is an alternative name (SAN) of the certificate, with its kind in front, such as
`uri:spiffe://example.org/billing`, `dns:billing.example.org` or `email:ops@example.org`. The common
name of a certificate is no name: anything can stand there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, StringConstraints

from modelyard.domain.values import Value

_ONE_PART = {"uri": "[^/?#*]+", "dns": "[a-z0-9_-]+", "email": "[^@*]+"}
"""What a `*` stands for: the last part of a URI's path, the first label, what is before the `@`."""
_WILD = {
    "uri": re.compile(r"[^*]+://[^*]+/\*"),
    "dns": re.compile(r"\*\.[^*]+"),
    "email": re.compile(r"\*@[^*]+"),
}
_KINDS = {"URI": "uri", "DNS": "dns", "email": "email"}
"""As OpenSSL calls them."""


def _checked(pattern: str) -> str:
    kind, _, name = pattern.partition(":")
    if kind not in _ONE_PART or not name:
        raise ValueError(
            f"`{pattern[:200]}` is not the name of a client, which begins with `uri:`, `dns:` or "
            "`email:`"
        )
    if "*" in name and not _WILD[kind].fullmatch(name):
        raise ValueError(
            f"`{pattern[:200]}`: a `*` stands for one whole part, as in "
            "`uri:spiffe://example.org/*`, `dns:*.example.org` and `email:*@example.org`"
        )
    return _plain(kind, name)


ClientName = Annotated[
    str, StringConstraints(max_length=512, pattern=r"^[!-~]+$"), AfterValidator(_checked)
]
"""A name in a list of those that are let in; a `*` in it stands for one whole part."""

Client = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
"""How a caller is called that gets a certificate of the workspace."""


class ClientCertificate(Value):
    """A certificate that the workspace has issued to a caller of one service."""

    serial: str
    """Its number, hexadecimal: what it is revoked by."""
    client: str
    """How its caller is called."""
    name: str
    """What identifies its caller: a URI among its alternative names."""
    issued_at: datetime
    expires_at: datetime
    revoked_at: datetime | None = None
    """When it was revoked; null while it is good."""


class IssuedCertificate(ClientCertificate):
    """The same, with what the caller needs besides its own key."""

    pem: str
    """The certificate itself. It is no secret."""


def names_of(alternatives: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """The names in a certificate, of its alternative names by the kinds that OpenSSL gives them."""
    return tuple(_plain(_KINDS[kind], name) for kind, name in alternatives if kind in _KINDS)


def allowing(patterns: Iterable[str]) -> Callable[[str], bool]:
    """What tells whether one of the patterns is met by a name. A `*` in the name meets none."""
    exact, wild = set(), []
    for pattern in patterns:
        if "*" in pattern:
            kind, _, name = pattern.partition(":")
            before, after = name.split("*")
            expression = f"{kind}:{re.escape(before)}{_ONE_PART[kind]}{re.escape(after)}"
            wild.append(re.compile(expression))
        else:
            exact.add(pattern)

    def allows(name: str) -> bool:
        return name in exact or any(pattern.fullmatch(name) for pattern in wild)

    return allows


def issued_name(service: UUID, client: str) -> str:
    """The name in certificates that the workspace issues to callers of one service.

    With the id of the service, so that nobody gets into another one that is called the same later.
    """
    return f"uri:modelyard://services/{service}/clients/{client}"


def _plain(kind: str, name: str) -> str:
    """The same text for the same name: letters of host names are small."""
    if kind == "dns":
        return f"dns:{name.lower()}"
    if kind == "email":
        local, at, host = name.rpartition("@")
        return f"email:{local}{at}{host.lower()}"
    return f"{kind}:{name}"
