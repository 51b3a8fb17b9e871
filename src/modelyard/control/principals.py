"""Who may talk to the platform: principals and their tokens. Only hashes of tokens are stored."""

from __future__ import annotations

import hashlib
import secrets

from modelyard.domain.principal import Principal, Role
from modelyard.store import Database


def new_token() -> str:
    """A token: 256 random bits."""
    return f"mt_{secrets.token_urlsafe(32)}"


class Principals:
    """Finds principals by their tokens."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, token: str) -> Principal | None:
        """Whose token it is, or None."""
        with self._database.read() as tx:
            return tx.principals.find(_hash(token))

    def set_token(self, workspace: str, name: str, role: Role, token: str) -> Principal:
        """Give a principal this token, instead of the one it had; create it when it is new."""
        with self._database.write() as tx:
            return tx.principals.set_token(workspace, name, role, _hash(token))


def _hash(token: str) -> str:
    # A token has 256 random bits: one round of SHA-256 cannot be turned back by guessing.
    return hashlib.sha256(token.encode()).hexdigest()
