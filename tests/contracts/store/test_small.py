"""What the stores of principals, agents, keys of requests and locks must do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from tests.factories import (
    OWNER,
    WORKSPACE,
    add_image,
    add_running_image,
    digest_of,
    make_manifest,
)

from modelyard.domain.image import Package
from modelyard.domain.observed import ObservedGateway, ObservedState
from modelyard.domain.principal import Role
from modelyard.errors import Conflict, NotFound
from modelyard.store import Transaction

NOW = datetime(2026, 11, 22, 12, 0, 0, 123456, tzinfo=UTC)


class TestPrincipals:
    def test_are_found_by_the_hash_of_their_token(self, tx: Transaction) -> None:
        added = tx.principals.add(WORKSPACE, "owner", Role.OWNER, "hash")
        assert tx.principals.find("hash") == added
        assert (added.workspace, added.name, added.role) == (WORKSPACE, "owner", Role.OWNER)
        assert tx.principals.find("other") is None

    def test_have_one_token(self, tx: Transaction) -> None:
        first = tx.principals.set_token(WORKSPACE, "owner", Role.OWNER, "one")
        second = tx.principals.set_token(WORKSPACE, "owner", Role.AGENT, "two")
        assert first.id == second.id
        assert tx.principals.find("one") is None
        assert tx.principals.find("two") == second
        assert second.role is Role.AGENT

    def test_have_names_of_their_own(self, tx: Transaction, elsewhere: str) -> None:
        tx.principals.add(WORKSPACE, "owner", Role.OWNER, "one")
        tx.principals.add(elsewhere, "owner", Role.OWNER, "two")
        with pytest.raises(Conflict, match="principal `owner` exists already"):
            tx.principals.add(WORKSPACE, "owner", Role.OWNER, "three")


class TestAgents:
    def test_are_made_once(self, tx: Transaction) -> None:
        made = tx.agents.ensure(WORKSPACE, "local")
        tx.agents.bump("local")
        assert tx.agents.ensure(WORKSPACE, "local").generation == 1
        assert (made.fence, made.generation, made.last_seen, made.observed) == (0, 0, None, None)

    def test_count_servers_and_changes(self, tx: Transaction) -> None:
        tx.agents.ensure(WORKSPACE, "local")
        assert [tx.agents.take_over("local") for _ in range(3)] == [1, 2, 3]
        assert [tx.agents.bump("local") for _ in range(2)] == [1, 2]
        agent = tx.agents.get("local")
        assert (agent.fence, agent.generation) == (3, 2)

    def test_keep_the_newest_report(self, tx: Transaction) -> None:
        tx.agents.ensure(WORKSPACE, "local")
        report = ObservedState(
            agent="local", fence=1, generation=2, gateway=ObservedGateway(url="http://x")
        )
        tx.agents.observe("local", report, NOW)
        agent = tx.agents.get("local")
        assert (agent.observed, agent.last_seen) == (report, NOW)

    def test_must_be_known(self, tx: Transaction) -> None:
        report = ObservedState(agent="ghost", fence=1, generation=2)
        for ask in (tx.agents.get, tx.agents.bump, tx.agents.take_over):
            with pytest.raises(NotFound, match="agent `ghost` not found"):
                ask("ghost")
        with pytest.raises(NotFound):
            tx.agents.observe("ghost", report, NOW)


class TestIdempotency:
    def test_gives_the_answer_again(self, tx: Transaction) -> None:
        assert tx.idempotency.find(WORKSPACE, OWNER, "key", "request") is None
        tx.idempotency.put(WORKSPACE, OWNER, "key", "request", "answer")
        assert tx.idempotency.find(WORKSPACE, OWNER, "key", "request") == "answer"
        assert tx.idempotency.find(WORKSPACE, "other", "key", "request") is None

    def test_refuses_the_key_for_another_request(self, tx: Transaction) -> None:
        tx.idempotency.put(WORKSPACE, OWNER, "key", "request", "answer")
        with pytest.raises(Conflict, match="`key` was used before"):
            tx.idempotency.find(WORKSPACE, OWNER, "key", "another")

    def test_forgets(self, tx: Transaction) -> None:
        tx.idempotency.put(WORKSPACE, OWNER, "key", "request", "answer")
        tx.idempotency.expire(datetime.now(UTC) - timedelta(hours=1))
        assert tx.idempotency.find(WORKSPACE, OWNER, "key", "request") == "answer"
        tx.idempotency.expire(datetime.now(UTC) + timedelta(hours=1))
        assert tx.idempotency.find(WORKSPACE, OWNER, "key", "request") is None


class TestLocks:
    PACKAGES = (Package(name="numpy", version="2.0"),)
    LATER = datetime.now(UTC) + timedelta(hours=1)

    def test_are_found_by_key(self, tx: Transaction) -> None:
        assert tx.locks.find("key") is None
        tx.locks.put("key", "numpy==1", digest_of("one"), 3, ())
        tx.locks.put("key", "numpy==2", digest_of("two"), 3, self.PACKAGES)
        assert tx.locks.find("key") == ("numpy==2", digest_of("two"), 3, self.PACKAGES)
        assert tx.blobs.known(digest_of("two")) == 3

    def test_expire_when_no_image_carries_them(self, tx: Transaction) -> None:
        image = add_image(tx)
        manifest = make_manifest(layer=image.reference)
        tx.locks.put("used", "", manifest.layers[0].digest, 10, ())
        tx.locks.put("unused", "", digest_of("layer"), 10, ())
        tx.locks.expire(datetime.now(UTC) - timedelta(hours=1))
        assert tx.locks.find("unused") is not None
        tx.locks.expire(self.LATER)
        assert tx.locks.find("unused") is None
        assert tx.locks.find("used") is not None

    def test_stay_while_something_is_built(self, tx: Transaction) -> None:
        tx.locks.put("unused", "", digest_of("layer"), 10, ())
        add_running_image(tx)
        tx.locks.expire(self.LATER)
        assert tx.locks.find("unused") is not None
