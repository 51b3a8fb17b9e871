"""Keys: how they are written and compared, and the check of them in a replica without a gateway.

A key is `my_<key id>_<secret>`; whoever checks it holds only an HMAC of the secret under the id.
The control plane makes keys (`modelyard.domain.keys`), gateway and replica check them with this.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from modelyard_runtime.http.messages import Head, Peer, Reply, Request, Response, error_response
from modelyard_runtime.memo import memo_of

Handler = Callable[[Request], Response | Reply]

_KEY = re.compile(r"my_([a-z0-9]{8,32})_([A-Za-z0-9]{32,64})")
_NO_HASH = "0" * 64  # what an unknown key id is compared with, so that it costs the same

OPEN_PATHS = frozenset(
    {"/", "/livez", "/readyz", "/ping", "/health", "/v2/health/live", "/v2/health/ready"}
)
"""Paths that need no key: whether the replica is alive and ready is asked by machines, which have
none, and says nothing of the model. All else needs one, `/metrics` and `/swagger.json` included."""
_READ = ("GET", "HEAD")
_PREFLIGHT = b"access-control-request-method"
_CHALLENGE = (b"www-authenticate", b'Bearer realm="modelyard"')
_UNAUTHENTICATED = "A valid key is needed: send it as `Authorization: Bearer <key>`."


class ServiceKey(NamedTuple):
    """A key taken apart."""

    id: str
    """The public part, by which its hash is found."""
    secret: str

    def __repr__(self) -> str:
        return f"ServiceKey(id={self.id!r}, secret=...)"

    @property
    def text(self) -> str:
        """The key as a caller sends it. Keep it out of logs and messages."""
        return f"my_{self.id}_{self.secret}"

    @property
    def hash(self) -> str:
        """HMAC-SHA256 of the secret under the id, hexadecimal: all that a checker needs."""
        return hmac.digest(self.id.encode(), self.secret.encode(), "sha256").hex()


NO_KEY = ServiceKey("0" * 16, "0" * 43)
"""Nobody's: what is checked where there is none, so that it costs the same."""


def parse_key(text: str) -> ServiceKey | None:
    """Take a key apart; None when the text is not a key."""
    match = _KEY.fullmatch(text)
    return ServiceKey(match[1], match[2]) if match else None


def verify_key(key: ServiceKey, stored: str | None) -> bool:
    """Whether the key has the stored hash, in constant time.

    None stands for an id that nobody knows; it takes the same work and is never right.
    """
    matches = hmac.compare_digest(key.hash, stored or _NO_HASH)
    return matches and stored is not None


def verify_authorization(authorization: bytes | None, hashes: Mapping[str, str]) -> bool:
    """Whether an `Authorization` header carries one of the keys whose hashes are known by id.

    It takes the same time whether there is a key or none, of a known id or another.
    """
    key = key_in(authorization)
    known = hashes.get(key.id) if key is not None else None
    return verify_key(key or NO_KEY, known)


def key_in(authorization: bytes | None) -> ServiceKey | None:
    """The key in an `Authorization` header; None when there is none, or something else."""
    if authorization is None:
        return None
    scheme, _, text = authorization.decode("latin-1").partition(" ")
    return parse_key(text.strip(" ")) if scheme.lower() == "bearer" else None


class Guard:
    """Lets through who has a key, as soon as the headers of a request are there.

    Args:
        hashes: The hashes of the keys by their ids; fixed for the life of the process.
        refused: Is called for every request that is turned away.
    """

    def __init__(self, hashes: Mapping[str, str], refused: Callable[[], None]) -> None:
        self._hashes = hashes
        self._refused = refused

    def admit(self, head: Head, peer: Peer | None = None) -> Response | None:
        """None for a request that may be answered; else what refuses it, before its body is read.

        What was right once is remembered with the head: the same head again costs nothing. Who
        sends it is all one: a key is needed.
        """
        del peer
        memo = head.memo or memo_of(head)
        if memo.access is self:
            return None
        if self._is_open(head) or self.allows(head.headers.get_all(b"authorization")):
            memo.access = self
            return None
        return error_response(401, _UNAUTHENTICATED, _CHALLENGE)

    def admit_preflights(self, head: Head, peer: Peer | None = None) -> Response | None:
        """As `admit`, but for what browsers ask first, without credentials: `cors` answers that."""
        if head.method == "OPTIONS" and head.headers.get(_PREFLIGHT) is not None:
            return None
        return self.admit(head, peer)

    def around(self, handler: Handler) -> Handler:
        """A handler that answers nobody else."""

        def answer(request: Request) -> Response | Reply:
            return self.admit(request.head) or handler(request)

        return answer

    def allows(self, authorizations: list[bytes]) -> bool:
        """Whether these are the one `Authorization` of a caller with a key; gRPC asks this too."""
        sole = authorizations[0] if len(authorizations) == 1 else None
        if verify_authorization(sole, self._hashes):
            return True
        self._refused()
        return False

    @staticmethod
    def _is_open(head: Head) -> bool:
        return head.path in OPEN_PATHS and head.method in _READ
