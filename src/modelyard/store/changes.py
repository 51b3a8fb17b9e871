"""The history of services: one row for every accepted change, written with it."""

from __future__ import annotations

from sqlalchemy import select, update

from modelyard.domain.change import ChangeOutcome, ServiceChange
from modelyard.store.repository import Repository
from modelyard.store.rows import ImageRow, ServiceChangeRow, ServiceRow


class Changes(Repository):
    """What services were asked to be."""

    def add(self, service: ServiceRow, by: str, reason: str = "") -> None:
        """Note what the service is wanted to be from its present generation on.

        What was still on its way is superseded by it.
        """
        self._session.execute(
            update(ServiceChangeRow)
            .where(
                ServiceChangeRow.service == service.seq,
                ServiceChangeRow.outcome == ChangeOutcome.PENDING,
            )
            .values(outcome=ChangeOutcome.SUPERSEDED)
        )
        image = self._session.get_one(ImageRow, service.image)
        self._session.add(
            ServiceChangeRow(
                service=service.seq,
                generation=service.generation,
                image=f"{image.name}:{image.version}",
                settings=service.settings,
                at=self._clock(),
                by=by,
                outcome=ChangeOutcome.PENDING,
                reason=reason,
            )
        )
        self._session.flush()

    def end(self, service: int, generation: int, outcome: ChangeOutcome, reason: str = "") -> None:
        """Note what became of a change that is on its way; no error when none is."""
        self._session.execute(
            update(ServiceChangeRow)
            .where(
                ServiceChangeRow.service == service,
                ServiceChangeRow.generation == generation,
                ServiceChangeRow.outcome == ChangeOutcome.PENDING,
            )
            .values(outcome=outcome, **({"reason": reason} if reason else {}))
        )

    def of(self, service: int) -> tuple[ServiceChange, ...]:
        """All of one service, newest first."""
        query = select(ServiceChangeRow).where(ServiceChangeRow.service == service)
        rows = self._session.scalars(query.order_by(ServiceChangeRow.generation.desc()))
        return tuple(
            ServiceChange(
                generation=row.generation,
                image=row.image,
                settings=row.settings,
                at=row.at,
                by=row.by,
                outcome=row.outcome,
                reason=row.reason,
            )
            for row in rows
        )
