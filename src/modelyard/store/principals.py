"""Callers, found by the hash of their token; the token itself is never stored."""

from __future__ import annotations

from uuid import uuid4

from sqlalchemy import select

from modelyard.domain.principal import Principal, Role
from modelyard.errors import Conflict
from modelyard.store.repository import Repository
from modelyard.store.rows import PrincipalRow


class Principals(Repository):
    """Callers of the REST interface."""

    def add(self, workspace: str, name: str, role: Role, token_hash: str) -> Principal:
        """Add a caller.

        Raises:
            Conflict: The workspace has one of this name.
        """
        if self._row(workspace, name) is not None:
            raise Conflict(
                f"principal `{name}` exists already in workspace `{workspace}`",
                hint="take another name, or give that one a new token",
            )
        row = PrincipalRow(
            id=uuid4(),
            workspace=workspace,
            name=name,
            role=role,
            token_hash=token_hash,
            created_at=self._clock(),
        )
        self._session.add(row)
        self._session.flush()
        return _to_domain(row)

    def find(self, token_hash: str) -> Principal | None:
        """Whose token has this hash, or nobody's."""
        row = self._session.scalar(select(PrincipalRow).filter_by(token_hash=token_hash))
        return None if row is None else _to_domain(row)

    def set_token(self, workspace: str, name: str, role: Role, token_hash: str) -> Principal:
        """Give a caller this role and token in place of what it had; a new caller is added."""
        row = self._row(workspace, name)
        if row is None:
            return self.add(workspace, name, role, token_hash)
        row.role, row.token_hash = role, token_hash
        self._session.flush()
        return _to_domain(row)

    def _row(self, workspace: str, name: str) -> PrincipalRow | None:
        return self._session.scalar(select(PrincipalRow).filter_by(workspace=workspace, name=name))


def _to_domain(row: PrincipalRow) -> Principal:
    return Principal(id=row.id, workspace=row.workspace, name=row.name, role=row.role)
