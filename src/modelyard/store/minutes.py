"""What services counted in each minute: kept for a while, read in order."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, select

from modelyard.domain.telemetry import Minute
from modelyard.store.repository import Repository, insert_all
from modelyard.store.rows import ServiceMinuteRow, ServiceRow
from modelyard_runtime.families import Figures


class Minutes(Repository):
    """Figures by service, minute and deployment."""

    def add(self, agent: str, minute: Minute) -> None:
        """Keep a minute of the services that this agent runs; what is there already stays."""
        own = dict(
            self._session.execute(
                select(ServiceRow.id, ServiceRow.seq).where(ServiceRow.agent == agent)
            ).all()
        )
        present = set(
            self._session.execute(
                select(ServiceMinuteRow.service, ServiceMinuteRow.deployment).where(
                    ServiceMinuteRow.at == minute.begins,
                    ServiceMinuteRow.service.in_(own.values()),
                )
            ).all()
        )
        insert_all(
            self._session,
            ServiceMinuteRow,
            (
                {
                    "service": own[one.service],
                    "at": minute.begins,
                    "deployment": str(one.deployment or ""),
                    "image": one.image,
                    "figures": one.figures,
                }
                for one in minute.deployments
                if one.service in own
                and one.figures
                and (own[one.service], str(one.deployment or "")) not in present
            ),
        )

    def read(self, service: UUID, since: datetime) -> Sequence[tuple[datetime, Figures]]:
        """Figures of a service's minutes that began since then, oldest first."""
        query = (
            select(ServiceMinuteRow.at, ServiceMinuteRow.figures)
            .join(ServiceRow, ServiceRow.seq == ServiceMinuteRow.service)
            .where(ServiceRow.id == service, ServiceMinuteRow.at >= since)
            .order_by(ServiceMinuteRow.at)
        )
        return [(at, figures) for at, figures in self._session.execute(query)]

    def expire(self, before: datetime) -> None:
        """Forget minutes that began before this."""
        self._session.execute(delete(ServiceMinuteRow).where(ServiceMinuteRow.at < before))
