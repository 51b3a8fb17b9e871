"""Agents: the fence that stops a former server, the generation of what they are to do, reports."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select, update

from modelyard.domain.agent import Agent
from modelyard.domain.observed import ObservedState
from modelyard.errors import NotFound
from modelyard.store.repository import Repository
from modelyard.store.rows import AgentRow


class Agents(Repository):
    """Hosts' agents, by name over all workspaces."""

    def ensure(self, workspace: str, agent: str) -> Agent:
        """The agent, made now if it is new."""
        row = self._session.get(AgentRow, agent)
        if row is None:
            row = AgentRow(
                name=agent, workspace=workspace, fence=0, generation=0, created_at=self._clock()
            )
            self._session.add(row)
            self._session.flush()
        return _to_domain(row)

    def get(self, agent: str) -> Agent:
        """One agent.

        Raises:
            NotFound: There is none of this name.
        """
        row = self._session.get(AgentRow, agent)
        if row is None:
            raise _not_found(agent)
        return _to_domain(row)

    def last_seen(self) -> dict[str, datetime]:
        """When each agent was last heard of, of those that ever were."""
        query = select(AgentRow.name, AgentRow.last_seen).where(AgentRow.last_seen.is_not(None))
        return {name: seen for name, seen in self._session.execute(query) if seen is not None}

    def take_over(self, agent: str) -> int:
        """A new fence, higher than every former one: documents of a former server are stale.

        Raises:
            NotFound: There is none of this name.
        """
        return self._raise(agent, "fence")

    def bump(self, agent: str) -> int:
        """The next generation; every change of desired state does this by itself.

        Raises:
            NotFound: There is none of this name.
        """
        return self._raise(agent, "generation")

    def observe(self, agent: str, observed: ObservedState, now: datetime) -> None:
        """Keep a report in place of the former one.

        Raises:
            NotFound: There is none of this name.
        """
        query = update(AgentRow).where(AgentRow.name == agent)
        query = query.values(observed=observed, last_seen=now)
        if self._session.scalar(query.returning(AgentRow.name)) is None:
            raise _not_found(agent)

    def _raise(self, agent: str, column: str) -> int:
        counter = getattr(AgentRow, column)
        query = update(AgentRow).where(AgentRow.name == agent).values({column: counter + 1})
        raised: int | None = self._session.scalar(query.returning(counter))
        if raised is None:
            raise _not_found(agent)
        return raised


def _not_found(agent: str) -> NotFound:
    return NotFound(f"agent `{agent}` not found", hint="start it, and see its log")


def _to_domain(row: AgentRow) -> Agent:
    return Agent(
        name=row.name,
        workspace=row.workspace,
        fence=row.fence,
        generation=row.generation,
        last_seen=row.last_seen,
        observed=row.observed,
    )
