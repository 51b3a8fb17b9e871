"""Services: accept what is wanted. The reconciler and the targets make it so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from modelyard.control.agents import Agents
from modelyard.control.certificates import Certificates
from modelyard.control.idempotency import earlier_answer, remember_answer
from modelyard.control.operations import Operations
from modelyard.domain.cause import Cause
from modelyard.domain.change import ServiceChange, former
from modelyard.domain.image import Image
from modelyard.domain.judgement import judge
from modelyard.domain.keys import make_key, new_key_id
from modelyard.domain.operation import LogLine, Operation, OperationKind, OperationState
from modelyard.domain.principal import Principal
from modelyard.domain.search import Page, Search
from modelyard.domain.service import (
    Authentication,
    KeyHash,
    KeySlot,
    Service,
    ServiceKeys,
    ServiceSettings,
    ServiceState,
)
from modelyard.domain.tokens import ServiceToken, make_token, public_key
from modelyard.domain.validation import compose
from modelyard.domain.values import Reference
from modelyard.errors import Conflict, InvalidRequest, NotFound
from modelyard.schemas import (
    AcceptedService,
    AskToken,
    ChangeLabels,
    DeployService,
    SettingsChange,
    UpdateService,
)
from modelyard.store import Database, Transaction
from modelyard.targets.base import Capability, Target


class Services:
    """What callers may do with services."""

    def __init__(
        self,
        database: Database,
        operations: Operations,
        agents: Agents,
        targets: Mapping[str, Target],
        *,
        local_agent: str,
        master_key: bytes,
        certificates: Certificates,
    ) -> None:
        self._database = database
        self._operations = operations
        self._agents = agents
        self._targets = targets
        self._local_agent = local_agent
        self._master_key = master_key
        self._certificates = certificates
        self.logged = agents.logged

    def deploy(
        self, principal: Principal, request: DeployService, key: str | None = None
    ) -> AcceptedService:
        """Create a service; the answer comes before it is ready.

        Raises:
            NotFound: There is no such image.
            Conflict: The name is taken, or the image is not built.
            InvalidRequest: There is no such target, or it cannot run this image.
        """
        if request.target not in self._targets:
            raise InvalidRequest(
                f"there is no target `{request.target}`",
                hint=f"targets here: {', '.join(sorted(self._targets))}",
            )
        _refuse_unable(self._targets[request.target], request.settings)
        self._certificates.refuse_unusable(request.settings)
        with self._database.write() as tx:
            earlier = earlier_answer(tx, principal, key, request, AcceptedService)
            if earlier is not None:
                return earlier
            image = _built(tx, principal, request.image)
            _refuse_unfit(self._targets[request.target], image)
            service = tx.services.add(
                principal.workspace, request, self._local_agent, image, principal.name
            )
            tx.services.set_keys(service.id, tuple(self._new_key(slot) for slot in KeySlot))
            operation = self._begin(tx, principal, OperationKind.SERVICE_DEPLOY, service.name)
            line = f"deploying {image.reference}, replicas: {request.settings.replicas}"
            tx.operations.append_log(operation.id, "service", [line, _first_request(image)])
            answer = AcceptedService(service=service, operation=operation)
            remember_answer(tx, principal, key, request, answer)
        self._targets[service.target].apply(service)
        return answer

    def update(
        self, principal: Principal, name: str, request: UpdateService, key: str | None = None
    ) -> AcceptedService:
        """Change the image or settings; replicas are replaced one beside the other.

        A change that is still on its way is given up in favour of this one.

        Raises:
            NotFound: There is no such service or image.
            Conflict: The service is being deleted, or the image is not built.
            InvalidRequest: Nothing to change, or a setting out of bounds.
        """
        with self._database.write() as tx:
            earlier = earlier_answer(tx, principal, key, request, AcceptedService, name)
            if earlier is not None:
                return earlier
            service = self._changeable(tx, principal, name)
            settings = _changed_settings(name, service.settings, request.settings)
            _refuse_unable(self._targets[service.target], settings)
            self._certificates.refuse_unusable(settings)
            # Named in any case: giving up a change on its way must not take its image along.
            image = _built(tx, principal, request.image or service.image)
            _refuse_unfit(self._targets[service.target], image)
            if settings == service.settings and image.reference == service.image:
                raise InvalidRequest(
                    f"`{name}` is already as asked: nothing to update",
                    hint="name another image or setting",
                )
            line = f"updating to {image.reference}"
            answer = self._change(tx, principal, service, image, settings, line)
            remember_answer(tx, principal, key, request, answer, name)
        self._operations.changed.notify()
        self._targets[service.target].apply(answer.service)
        return answer

    def rollback(self, principal: Principal, name: str) -> AcceptedService:
        """Go back to what served before, image and settings; needs no build.

        Asked twice, it goes forth again.

        Raises:
            NotFound: There is no such service, or the image was deleted.
            Conflict: Nothing else has served, or the service is being deleted.
        """
        with self._database.write() as tx:
            service = self._changeable(tx, principal, name)
            before = former(tx.services.history(service.id), service.image, service.settings)
            if before is None:
                raise Conflict(
                    f"nothing but {service.image} with its present settings has served `{name}`",
                    hint=f"`modelyard service history {name}` shows what it was asked to be",
                )
            self._certificates.refuse_unusable(before.settings)
            image = _built(tx, principal, before.image)
            _refuse_unfit(self._targets[service.target], image)
            line = f"going back to {before.image}, as of generation {before.generation}"
            answer = self._change(tx, principal, service, image, before.settings, line)
        self._operations.changed.notify()
        self._targets[service.target].apply(answer.service)
        return answer

    def history(self, principal: Principal, name: str) -> tuple[ServiceChange, ...]:
        """What a service was asked to be, newest first, and what became of it."""
        with self._database.read() as tx:
            return tx.services.history(tx.services.get(principal.workspace, name).id)

    def _change(
        self,
        tx: Transaction,
        principal: Principal,
        service: Service,
        image: Image,
        settings: ServiceSettings,
        line: str,
    ) -> AcceptedService:
        """Want another image or other settings, in place of a change still on its way."""
        self._supersede(tx, principal, service)
        changed = tx.services.update(
            principal.workspace, service.name, image, settings, principal.name
        )
        operation = self._begin(tx, principal, OperationKind.SERVICE_UPDATE, service.name)
        tx.operations.append_log(operation.id, "service", [line, _first_request(image)])
        return AcceptedService(service=changed, operation=operation)

    def delete(self, principal: Principal, name: str) -> Operation:
        """Drain and remove a service; asked again it gives the same operation.

        Raises:
            NotFound: There is no such service.
        """
        with self._database.write() as tx:
            service = tx.services.get(principal.workspace, name)
            running = tx.operations.running(principal.workspace, f"service {name}")
            for operation in running:
                if operation.kind is OperationKind.SERVICE_DELETE:
                    return operation
            self._cancel(tx, running, "the service is being deleted")
            tx.services.mark_deleting(principal.workspace, name)
            operation = self._begin(tx, principal, OperationKind.SERVICE_DELETE, name)
        self._operations.changed.notify()
        self._targets[service.target].remove(service)
        return operation

    def get(self, principal: Principal, name: str) -> Service:
        """One service.

        Raises:
            NotFound: There is none of this name.
        """
        with self._database.read() as tx:
            return self._present(tx.services.get(principal.workspace, name))

    def search(self, principal: Principal, search: Search) -> Page[Service]:
        """Services that match, newest first."""
        with self._database.read() as tx:
            page = tx.services.search(principal.workspace, search)
        return Page(items=tuple(self._present(service) for service in page.items), next=page.next)

    def change_labels(self, principal: Principal, name: str, change: ChangeLabels) -> Service:
        """Change tags or the description; add properties. Restarts nothing."""
        with self._database.write() as tx:
            return self._present(tx.services.change_labels(principal.workspace, name, change))

    def keys(self, principal: Principal, name: str) -> ServiceKeys:
        """Both keys, derived anew: they are stored nowhere."""
        with self._database.read() as tx:
            service = tx.services.get(principal.workspace, name)
            hashes = {key.slot: key for key in tx.services.keys(service.id)}
        return ServiceKeys(
            primary=make_key(self._master_key, hashes[KeySlot.PRIMARY].id).text,
            secondary=make_key(self._master_key, hashes[KeySlot.SECONDARY].id).text,
        )

    def regenerate_key(self, principal: Principal, name: str, slot: KeySlot) -> ServiceKeys:
        """Replace one key; running requests and the other key are not touched."""
        with self._database.write() as tx:
            service = self._changeable(tx, principal, name)
            kept = tuple(key for key in tx.services.keys(service.id) if key.slot is not slot)
            tx.services.set_keys(service.id, (*kept, self._new_key(slot)))
        self._targets[service.target].apply(service)
        return self.keys(principal, name)

    def token(self, principal: Principal, name: str, request: AskToken) -> ServiceToken:
        """A token for a service whose callers need one, signed under its primary key.

        Raises:
            Conflict: The service takes no tokens.
        """
        with self._database.write() as tx:
            service = self._changeable(tx, principal, name)
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

    def logs(
        self, service: Service, replica: str | None, after: int, limit: int
    ) -> Sequence[LogLine]:
        """Stored log lines of a service, oldest first."""
        target = self._targets[service.target]
        return list(target.logs(service, replica=replica, after=after, limit=limit))

    def refuse_unknown_replica(self, service: Service, replica: str) -> None:
        """Say which replicas there are when this is none of them.

        Raises:
            NotFound: The service has no such replica, and no log of one is kept.
        """
        with self._database.read() as tx:
            known = {*tx.logs.replicas(service.id), *(r.id for r in service.status.replicas)}
        if replica not in known:
            raise NotFound(
                f"service `{service.name}` has no replica `{replica[:200]}`",
                hint=f"there are: {', '.join(sorted(known)) or 'none yet'}",
            )

    def log_position(self, service: Service, replica: str | None, tail: int) -> int:
        """The sequence after which the last `tail` lines begin."""
        with self._database.read() as tx:
            return tx.logs.position(service.id, replica, tail)

    def why(self, principal: Principal, name: str) -> Cause | None:
        """The one cause for anything not ready; None when there is nothing to say."""
        return self.get(principal, name).status.cause

    def _present(self, service: Service) -> Service:
        """The service with what is known of it at this moment."""
        observation = self._targets[service.target].observe(service)
        verdict = judge(service, observation, datetime.now(UTC))
        base = observation.gateway.url
        return service.model_copy(
            update={
                "status": verdict.status,
                "scoring_uri": f"{base}/services/{service.name}/score" if base else None,
                "swagger_uri": f"{base}/services/{service.name}/swagger.json" if base else None,
            }
        )

    def _changeable(self, tx: Transaction, principal: Principal, name: str) -> Service:
        service = tx.services.get(principal.workspace, name)
        if service.status.state is ServiceState.DELETING:
            raise Conflict(
                f"`{name}` is being deleted", hint="wait until it is gone, then deploy it again"
            )
        return service

    def _supersede(self, tx: Transaction, principal: Principal, service: Service) -> None:
        """Give up a change that is still on its way, so that the next starts from what serves."""
        running = tx.operations.running(principal.workspace, f"service {service.name}")
        if running:
            self._cancel(tx, running, "a newer change takes its place")
            tx.services.revert(service.id, service.generation)

    def _cancel(self, tx: Transaction, running: Sequence[Operation], reason: str) -> None:
        for operation in running:
            tx.operations.append_log(operation.id, "service", [f"cancelled: {reason}"])
            tx.operations.finish(operation.id, OperationState.CANCELLED, None)

    def _begin(
        self, tx: Transaction, principal: Principal, kind: OperationKind, name: str
    ) -> Operation:
        return tx.operations.add(principal.workspace, kind, f"service {name}", principal.name)

    def _new_key(self, slot: KeySlot) -> KeyHash:
        return self._key_hash(new_key_id(), slot)

    def _key_hash(self, key_id: str, slot: KeySlot) -> KeyHash:
        key = make_key(self._master_key, key_id)
        token_key = public_key(self._master_key, key_id)
        return KeyHash(id=key_id, slot=slot, hash=key.hash, token_key=token_key)


def _built(tx: Transaction, principal: Principal, text: str) -> Image:
    reference = Reference.parse(text, "image")
    image = tx.images.get(principal.workspace, reference)
    if reference.version is None:
        image = tx.images.latest_built(principal.workspace, reference.name) or image
    image.built_manifest()
    return image


def _first_request(image: Image) -> str:
    """What replicas of an image score first, as a line of the operation's log."""
    if image.check is None or image.check.example is None:
        return f"{image.reference} has no sample: its replicas are not tried before they serve"
    return "each new replica scores the image's sample before it gets requests"


def _refuse_unfit(target: Target, image: Image) -> None:
    baseless = image.manifest is not None and image.manifest.base is None
    if baseless and Capability.NEEDS_BASE in target.capabilities:
        raise InvalidRequest(
            f"image `{image.reference}` has no base to stand on, which the target "
            f"`{target.name}` needs",
            hint="build it again with a base, or deploy it to the target `local`",
        )


def _refuse_unable(target: Target, settings: ServiceSettings) -> None:
    most = settings.max_replicas or settings.replicas
    if most > 1 and Capability.REPLICAS not in target.capabilities:
        raise InvalidRequest(
            f"the target `{target.name}` runs one replica of a service, not {most}",
            hint="ask for one replica, or deploy to another target",
        )


def _changed_settings(
    name: str, settings: ServiceSettings, change: SettingsChange
) -> ServiceSettings:
    wanted = {**settings.model_dump(), **change.model_dump(exclude_none=True)}
    return compose(ServiceSettings, wanted, f"the specification of `{name}`")
