"""Keys of services, and tokens that are signed under them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from modelyard.control.accepting import changeable
from modelyard.domain.desired import KeyHash
from modelyard.domain.keys import make_key, new_key_id
from modelyard.domain.principal import Principal
from modelyard.domain.service import Authentication, KeySlot, ServiceKeys
from modelyard.domain.tokens import ServiceToken, make_token, public_key
from modelyard.errors import Conflict
from modelyard.schemas import AskToken
from modelyard.store import Database
from modelyard.targets.base import Target


class Keys:
    """Keys of services: derived from one secret, and stored nowhere.

    Args:
        master_key: What every key is derived from.
    """

    def __init__(
        self, database: Database, targets: Mapping[str, Target], master_key: bytes
    ) -> None:
        self._database = database
        self._targets = targets
        self._master_key = master_key

    def new(self) -> tuple[KeyHash, ...]:
        """Both keys of a new service."""
        return tuple(self._new_key(slot) for slot in KeySlot)

    def of(self, principal: Principal, name: str) -> ServiceKeys:
        """Both keys, derived anew: they are stored nowhere."""
        with self._database.read() as tx:
            service = tx.services.get(principal.workspace, name)
            hashes = {key.slot: key for key in tx.services.keys(service.id)}
        return ServiceKeys(
            primary=make_key(self._master_key, hashes[KeySlot.PRIMARY].id).text,
            secondary=make_key(self._master_key, hashes[KeySlot.SECONDARY].id).text,
        )

    def regenerate(self, principal: Principal, name: str, slot: KeySlot) -> ServiceKeys:
        """Replace one key; running requests and the other key are not touched."""
        with self._database.write() as tx:
            service = changeable(tx, principal, name)
            kept = tuple(key for key in tx.services.keys(service.id) if key.slot is not slot)
            tx.services.set_keys(service.id, (*kept, self._new_key(slot)))
        self._targets[service.target].apply(service)
        return self.of(principal, name)

    def token(self, principal: Principal, name: str, request: AskToken) -> ServiceToken:
        """A token for a service whose callers need one, signed under its primary key.

        Raises:
            Conflict: The service takes no tokens.
        """
        with self._database.write() as tx:
            service = changeable(tx, principal, name)
            if service.settings.auth is not Authentication.TOKEN:
                raise Conflict(
                    f"`{name}` takes no tokens: its `auth` is `{service.settings.auth}`",
                    hint=f"`modelyard service update {name} --auth token` changes that",
                )
            keys = tx.services.keys(service.id)
            if not all(key.token_key for key in keys):  # they are older than tokens
                renewed = tuple(self._key_hash(key.id, key.slot) for key in keys)
                tx.services.set_keys(service.id, renewed)
        self._targets[service.target].apply(service)
        primary = next(key for key in keys if key.slot is KeySlot.PRIMARY)
        lifetime = timedelta(seconds=request.lifetime)
        return make_token(
            self._master_key, primary.id, name, principal.name, datetime.now(UTC), lifetime
        )

    def _new_key(self, slot: KeySlot) -> KeyHash:
        return self._key_hash(new_key_id(), slot)

    def _key_hash(self, key_id: str, slot: KeySlot) -> KeyHash:
        key = make_key(self._master_key, key_id)
        token_key = public_key(self._master_key, key_id)
        return KeyHash(id=key_id, slot=slot, hash=key.hash, token_key=token_key)
