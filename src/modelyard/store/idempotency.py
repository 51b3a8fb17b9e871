"""Answers to requests that carried an idempotency key, so that a repeat gets the same one."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, insert, select

from modelyard.errors import Conflict
from modelyard.store.repository import Repository
from modelyard.store.rows import IdempotencyRow


class Idempotency(Repository):
    """Keys are each principal's own."""

    def find(self, workspace: str, principal: str, key: str, request_hash: str) -> str | None:
        """What the request with this key was answered, or null when it is new.

        Raises:
            Conflict: The key came with another request before.
        """
        query = select(IdempotencyRow).filter_by(workspace=workspace, principal=principal, key=key)
        row = self._session.scalar(query)
        if row is None:
            return None
        if row.request_hash != request_hash:
            raise Conflict(
                f"idempotency key `{key}` was used before, with another request",
                hint="use a new key for every new request",
            )
        return row.answer

    def put(self, workspace: str, principal: str, key: str, request_hash: str, answer: str) -> None:
        """Keep the answer to a request; call it in the transaction that does what was asked."""
        self._session.execute(
            insert(IdempotencyRow).values(
                workspace=workspace,
                principal=principal,
                key=key,
                request_hash=request_hash,
                answer=answer,
                created_at=self._clock(),
            )
        )

    def expire(self, before: datetime) -> None:
        """Forget keys that were used before then."""
        self._session.execute(delete(IdempotencyRow).where(IdempotencyRow.created_at < before))
