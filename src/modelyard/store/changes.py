"""The history of services: one row for every accepted change, written with it."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select, update

from modelyard.domain.cause import Cause
from modelyard.domain.change import ChangeOutcome, ServiceChange
from modelyard.store.repository import Repository
from modelyard.store.rows import DeploymentRow, ImageRow, ServiceChangeRow, ServiceRow


class Changes(Repository):
    """What services were asked to be."""

    def add(
        self,
        service: ServiceRow,
        by: str,
        reason: str = "",
        *,
        serving: Sequence[DeploymentRow] = (),
    ) -> None:
        """Note what the service is wanted to be from its present generation on.

        What was still on its way is superseded by it, save a rollout that it leaves alone.

        Args:
            service: What is wanted.
            by: Who wants it; empty: the platform does.
            reason: Why the platform does.
            serving: Deployments that have the traffic by this change; empty: the wanted image has.
        """
        rollout = service.rollout
        begins = rollout is not None and rollout.generation == service.generation
        goes_on = rollout.generation if rollout is not None and not begins else 0
        self._session.execute(
            update(ServiceChangeRow)
            .where(
                ServiceChangeRow.service == service.seq,
                ServiceChangeRow.outcome == ChangeOutcome.PENDING,
                ServiceChangeRow.generation != goes_on,
            )
            .values(outcome=ChangeOutcome.SUPERSEDED)
        )
        shares = {self._reference(one.image): one.weight for one in serving}
        self._session.add(
            ServiceChangeRow(
                service=service.seq,
                generation=service.generation,
                image=max(shares, key=lambda image: shares[image])
                if shares
                else self._reference(service.image),
                settings=serving[0].settings if serving else service.settings,
                traffic=shares if len(shares) > 1 else {},
                rollout=rollout.plan if rollout is not None and begins else "",
                at=self._clock(),
                by=by,
                outcome=ChangeOutcome.PENDING,
                reason=reason,
            )
        )
        self._session.flush()

    def end(
        self,
        service: int,
        first: int,
        last: int,
        outcome: ChangeOutcome,
        reason: str = "",
        cause: Cause | None = None,
    ) -> None:
        """Note what became of changes on their way, by generation; no error when none is."""
        self._session.execute(
            update(ServiceChangeRow)
            .where(
                ServiceChangeRow.service == service,
                ServiceChangeRow.generation.between(first, last),
                ServiceChangeRow.outcome == ChangeOutcome.PENDING,
            )
            .values(outcome=outcome, cause=cause, **({"reason": reason} if reason else {}))
        )

    def explain(self, service: int, generation: int, reason: str) -> None:
        """Note why a change goes on as it does."""
        self._session.execute(
            update(ServiceChangeRow)
            .where(ServiceChangeRow.service == service, ServiceChangeRow.generation == generation)
            .values(reason=reason)
        )

    def take_back(self, service: int, first: int, cause: Cause) -> None:
        """Note that what was asked for from a generation on has served and was undone."""
        taken_back = (ChangeOutcome.PENDING, ChangeOutcome.SERVED)
        self._session.execute(
            update(ServiceChangeRow)
            .where(
                ServiceChangeRow.service == service,
                ServiceChangeRow.generation >= first,
                ServiceChangeRow.outcome.in_(taken_back),
            )
            .values(outcome=ChangeOutcome.FAILED, reason=cause.message, cause=cause)
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
                traffic=row.traffic,
                rollout=row.rollout,
                at=row.at,
                by=row.by,
                outcome=row.outcome,
                reason=row.reason,
                cause=row.cause,
            )
            for row in rows
        )

    def _reference(self, image: int) -> str:
        row = self._session.get_one(ImageRow, image)
        return f"{row.name}:{row.version}"
