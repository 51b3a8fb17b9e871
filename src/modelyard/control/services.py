"""Services: accept what is wanted. The reconciler and the targets make it so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from modelyard.control.agents import Agents
from modelyard.control.certificates import Certificates
from modelyard.control.idempotency import earlier_answer, remember_answer
from modelyard.control.operations import Operations
from modelyard.domain.cause import Cause, CauseCode
from modelyard.domain.change import ChangeOutcome, ServiceChange, former, split_traffic
from modelyard.domain.image import Image
from modelyard.domain.judgement import judge
from modelyard.domain.keys import make_key, new_key_id
from modelyard.domain.operation import LogLine, Operation, OperationKind, OperationState
from modelyard.domain.principal import Principal
from modelyard.domain.rollout import Move, Rollout
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
    SplitService,
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

        A change that is still on its way is given up in favour of this one. With `canary` the
        change becomes a candidate beside what serves; while there is one, only settings can be
        changed that replace no replicas.

        Raises:
            NotFound: There is no such service or image.
            Conflict: The service is being deleted, a candidate is being tried, or the image is not
                built.
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
            split = split_traffic(service.deployments) if service.rollout is None else {}
            moves = request.image is not None and (image.reference != service.image or bool(split))
            is_trial = request.canary is not None or request.shadow is not None
            _refuse_beside_candidate(service, is_trial)
            if settings == service.settings and not moves:
                raise InvalidRequest(
                    f"`{name}` is already as asked: nothing to update",
                    hint="name another image or setting",
                )
            replaces = moves or settings.for_replica() != service.settings.for_replica()
            _refuse_beside_candidate(service, replaces)
            if is_trial:
                _refuse_trial(service, split, replaces)
            how = "" if request.canary is None else f" as a {request.canary}"
            how = f" as a shadow of {request.shadow} %" if request.shadow is not None else how
            change = f"updating to {image.reference}"
            line = f"{change if moves else _changing(service.settings, settings)}{how}"
            if split and not moves:
                answer = self._share(tx, principal, service, split, settings, line)
            else:
                self._supersede(tx, principal, service)
                changed = tx.services.update(
                    principal.workspace,
                    name,
                    image,
                    settings,
                    principal.name,
                    request.canary,
                    request.shadow or 0,
                )
                tried = (_first_request(image),) if replaces else ()
                answer = self._accepted(tx, principal, changed, line, *tried)
            remember_answer(tx, principal, key, request, answer, name)
        self._operations.changed.notify()
        self._targets[service.target].apply(answer.service)
        return answer

    def split(
        self, principal: Principal, name: str, request: SplitService, key: str | None = None
    ) -> AcceptedService:
        """Have these images share the traffic of a service.

        Raises:
            NotFound: There is no such service or image.
            Conflict: The service is being deleted, a candidate is being tried, or an image is not
                built.
            InvalidRequest: It is so already, or an image is named twice.
        """
        with self._database.write() as tx:
            earlier = earlier_answer(tx, principal, key, request, AcceptedService, name)
            if earlier is not None:
                return earlier
            service = self._changeable(tx, principal, name)
            _refuse_beside_candidate(service, replaces=True)
            images = [_built(tx, principal, reference) for reference in request.shares]
            wanted = dict(zip((i.reference for i in images), request.shares.values(), strict=True))
            if len(wanted) < len(request.shares):
                raise InvalidRequest("an image is named twice", hint="give each image one share")
            if wanted == {d.image: d.weight for d in service.deployments if d.weight}:
                raise InvalidRequest(
                    f"`{name}` is already as asked: nothing to update", hint="give other shares"
                )
            line = f"splitting the traffic: {_in_words(wanted)}"
            answer = self._share(tx, principal, service, wanted, service.settings, line)
            remember_answer(tx, principal, key, request, answer, name)
        self._operations.changed.notify()
        self._targets[service.target].apply(answer.service)
        return answer

    def promote(self, principal: Principal, name: str) -> AcceptedService:
        """Give the candidate of a service all of the traffic, and retire what served before.

        Raises:
            NotFound: There is no such service.
            Conflict: No candidate is being tried, or the service is being deleted.
        """
        with self._database.write() as tx:
            service = self._changeable(tx, principal, name)
            rollout = service.rollout
            if rollout is None:
                raise Conflict(
                    f"`{name}` has no candidate to promote",
                    hint=f"`modelyard service update {name} --image … --canary 10%` makes one",
                )
            running = tx.operations.running(principal.workspace, f"service {name}")
            self._cancel(tx, running, "the candidate is promoted")
            reason = f"promoted at {rollout.stage} by {principal.name}"
            promoted = tx.services.move_rollout(service.id, Move.PROMOTE, reason)
            answer = self._accepted(tx, principal, promoted, f"promoting {service.image}")
        self._operations.changed.notify()
        self._targets[service.target].apply(answer.service)
        return answer

    def rollback(self, principal: Principal, name: str) -> AcceptedService:
        """Go back to what served before, images and settings; needs no build.

        While a candidate is tried, that drops it at once. Asked twice without one, it goes forth
        again.

        Raises:
            NotFound: There is no such service, or the image was deleted.
            Conflict: Nothing else has served, or the service is being deleted.
        """
        with self._database.write() as tx:
            service = self._changeable(tx, principal, name)
            if service.rollout is not None:
                answer = self._take_back(tx, principal, service, service.rollout)
            else:
                answer = self._go_back(tx, principal, service)
        self._operations.changed.notify()
        self._targets[service.target].apply(answer.service)
        return answer

    def _take_back(
        self, tx: Transaction, principal: Principal, service: Service, rollout: Rollout
    ) -> AcceptedService:
        """Drop the candidate; what serves has all it needs."""
        running = tx.operations.running(principal.workspace, f"service {service.name}")
        self._cancel(tx, running, "the candidate is taken back")
        reason = f"taken back at {rollout.stage} by {principal.name}"
        tx.services.end_change(service.id, service.generation, ChangeOutcome.SUPERSEDED, reason)
        changed = tx.services.revert(service.id, service.generation, by=principal.name)
        return self._accepted(tx, principal, changed, f"taking {service.image} back")

    def _go_back(self, tx: Transaction, principal: Principal, service: Service) -> AcceptedService:
        history, traffic = tx.services.history(service.id), split_traffic(service.deployments)
        before = former(history, service.image, service.settings, traffic)
        if before is None:
            raise Conflict(
                f"nothing but {service.image} with its present settings has served "
                f"`{service.name}`",
                hint=f"`modelyard service history {service.name}` shows what it was asked to be",
            )
        self._certificates.refuse_unusable(before.settings)
        wanted = before.traffic or {before.image: 100}
        line = f"going back to {_in_words(wanted)}, as of generation {before.generation}"
        if service.settings != before.settings:
            line += f", {_changing(service.settings, before.settings)}"
        return self._share(tx, principal, service, wanted, before.settings, line)

    def history(self, principal: Principal, name: str) -> tuple[ServiceChange, ...]:
        """What a service was asked to be, newest first, and what became of it."""
        with self._database.read() as tx:
            return tx.services.history(tx.services.get(principal.workspace, name).id)

    def _share(
        self,
        tx: Transaction,
        principal: Principal,
        service: Service,
        shares: Mapping[str, int],
        settings: ServiceSettings,
        line: str,
    ) -> AcceptedService:
        """Want these images at these shares, in place of a change still on its way."""
        images = [_built(tx, principal, reference) for reference in shares]
        for image in images:
            _refuse_unfit(self._targets[service.target], image)
        self._supersede(tx, principal, service)
        changed = tx.services.split(
            principal.workspace,
            service.name,
            list(zip(images, shares.values(), strict=True)),
            settings,
            principal.name,
        )
        tried = dict.fromkeys(_first_request(image) for image in images)
        return self._accepted(tx, principal, changed, line, *tried)

    def _accepted(
        self, tx: Transaction, principal: Principal, service: Service, *lines: str
    ) -> AcceptedService:
        operation = self._begin(tx, principal, OperationKind.SERVICE_UPDATE, service.name)
        tx.operations.append_log(operation.id, "service", lines)
        return AcceptedService(service=service, operation=operation)

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
            service = self._present(tx.services.get(principal.workspace, name))
        if service.status.cause is not None or service.status.state is not ServiceState.HEALTHY:
            return service
        cause = self._certificates.ending(principal, service)
        return service.model_copy(
            update={"status": service.status.model_copy(update={"cause": cause})}
        )

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
        """The one cause for anything not as asked; None when there is nothing to say."""
        service = self.get(principal, name)
        return service.status.cause or _why_taken_back(name, self.history(principal, name))

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
            if service.rollout is None:
                tx.services.revert(service.id, service.generation)
        elif service.rollout is None:
            tx.services.retire(service.id)  # what is still judged counts as what serves

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


def _why_taken_back(name: str, history: Sequence[ServiceChange]) -> Cause | None:
    """Why the newest change was undone, as long as no other follows."""
    newest, before = history[0], next(iter(history[1:]), None)
    if newest.by or before is None or before.outcome is not ChangeOutcome.FAILED:
        return None
    found = before.cause or Cause(code=CauseCode.CANDIDATE_WORSE, message=before.reason)
    ends = f"`modelyard service history {name}` shows what was taken back; any further change of "
    ends += "the service ends this notice."
    return Cause(
        code=found.code,
        message=f"`{name}` went back to {newest.image} by itself: {found.message}",
        evidence=(f"went back at {newest.at:%Y-%m-%d %H:%M:%S} UTC", *found.evidence),
        fix=f"{found.fix.removesuffix('.')}. {ends}" if found.fix else ends,
    )


def _changing(before: ServiceSettings, after: ServiceSettings) -> str:
    """What a change of settings alone is about, as a line of the operation's log."""
    names = (n for n in ServiceSettings.model_fields if getattr(before, n) != getattr(after, n))
    return f"changing {', '.join(names)}"


def _first_request(image: Image) -> str:
    """What replicas of an image score first, as a line of the operation's log."""
    if image.check is None or image.check.example is None:
        return f"{image.reference} has no sample: its replicas are not tried before they serve"
    return "each new replica scores the image's sample before it gets requests"


def _refuse_beside_candidate(service: Service, replaces: bool) -> None:
    if service.rollout is not None and replaces:
        raise Conflict(
            f"`{service.name}` is trying {service.image} at {service.rollout.stage} of its "
            "traffic; meanwhile its image and what replaces replicas stay as they are",
            hint=f"`modelyard service promote {service.name}` gives it all of the traffic, "
            f"`modelyard service rollback {service.name}` takes it back",
        )


def _refuse_trial(service: Service, split: Mapping[str, int], replaces: bool) -> None:
    if split:
        raise Conflict(
            f"the traffic of `{service.name}` is split: {_in_words(split)}",
            hint="a candidate is tried beside one image: update to one all at once first",
        )
    if not replaces:
        raise InvalidRequest(
            "a change of these settings replaces no replicas: there is no candidate to try",
            hint="make it all at once, or name another image",
        )


def _in_words(shares: Mapping[str, int]) -> str:
    if len(shares) == 1:
        return next(iter(shares))
    return ", ".join(f"{image} {share} %" for image, share in shares.items())


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
