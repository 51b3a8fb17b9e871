"""The same request sent again gives the same answer, so clients may repeat what got none.

A caller names a request with a key of its own. The answer is kept in the transaction that did the
work, so there is no moment in which the work is done and the answer is not known.
"""

from __future__ import annotations

import hashlib
from typing import TypeVar

from pydantic import BaseModel

from modelyard.domain.principal import Principal
from modelyard.store import Transaction

Answer = TypeVar("Answer", bound=BaseModel)


def earlier_answer(
    tx: Transaction,
    principal: Principal,
    key: str | None,
    request: BaseModel,
    kind: type[Answer],
    subject: str = "",
) -> Answer | None:
    """The answer that the same request got before, or None when it is new.

    `subject` is what the request is about when the request itself does not say.

    Raises:
        Conflict: The key was used for another request.
    """
    if key is None:
        return None
    text = tx.idempotency.find(
        principal.workspace, principal.name, key, _fingerprint(request, subject)
    )
    return kind.model_validate_json(text) if text is not None else None


def remember_answer(
    tx: Transaction,
    principal: Principal,
    key: str | None,
    request: BaseModel,
    answer: BaseModel,
    subject: str = "",
) -> None:
    """Keep the answer for when the request comes again."""
    if key is not None:
        tx.idempotency.put(
            principal.workspace,
            principal.name,
            key,
            _fingerprint(request, subject),
            answer.model_dump_json(),
        )


def _fingerprint(request: BaseModel, subject: str) -> str:
    text = f"{type(request).__name__}:{subject}:{request.model_dump_json()}"
    return hashlib.sha256(text.encode()).hexdigest()
