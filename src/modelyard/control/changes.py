"""Changes of services that are there: accepted here, and made by the reconciler and targets."""

from __future__ import annotations

from collections.abc import Mapping

from modelyard.control.accepting import (
    begin,
    built,
    cancel,
    changeable,
    changed_settings,
    first_request,
    refuse_unable,
    refuse_unfit,
)
from modelyard.control.certificates import Certificates
from modelyard.control.gating import refuse_unproven
from modelyard.control.idempotency import earlier_answer, remember_answer
from modelyard.control.operations import Operations
from modelyard.domain.change import ChangeOutcome, former, split_traffic, traffic_text
from modelyard.domain.image import Image
from modelyard.domain.operation import OperationKind, OperationState
from modelyard.domain.principal import Principal
from modelyard.domain.rollout import Move, Rollout
from modelyard.domain.service import Service, ServiceSettings
from modelyard.errors import Conflict, InvalidRequest
from modelyard.schemas import AcceptedService, SplitService, UpdateService
from modelyard.store import Database, Transaction
from modelyard.targets.base import Target


class Changes:
    """What services are asked to be: update, split, promote, go back."""

    def __init__(
        self,
        database: Database,
        operations: Operations,
        targets: Mapping[str, Target],
        certificates: Certificates,
        master_key: bytes,
    ) -> None:
        self._database = database
        self._operations = operations
        self._targets = targets
        self._certificates = certificates
        self._master_key = master_key

    def update(
        self, principal: Principal, name: str, request: UpdateService, key: str | None = None
    ) -> AcceptedService:
        """Change the image or settings; replicas are replaced one beside the other.

        A change that is still on its way is given up in favour of this one. With `canary` the
        change becomes a candidate beside what serves; while there is one, only settings can be
        changed that replace no replicas. What is so already is no error: nothing changes.

        Raises:
            NotFound: There is no such service or image.
            Conflict: The service is being deleted, a candidate is being tried, or the image is not
                built.
            InvalidRequest: A setting is out of bounds.
            ReplayFailed: The replay that is named does not let the change through.
        """
        with self._database.write() as tx:
            answer = earlier_answer(tx, principal, key, request, AcceptedService, name)
            if answer is not None:
                return answer
            answer = self._update(tx, principal, name, request)
            remember_answer(tx, principal, key, request, answer, name)
        self._begin(answer)
        return answer

    def _update(
        self, tx: Transaction, principal: Principal, name: str, request: UpdateService
    ) -> AcceptedService:
        service = changeable(tx, principal, name)
        settings = changed_settings(name, service.settings, request.settings)
        refuse_unable(self._targets[service.target], settings)
        self._certificates.refuse_unusable(settings)
        # Named in any case: giving up a change on its way must not take its image along.
        image = built(tx, principal, request.image or service.image)
        refuse_unfit(self._targets[service.target], image)
        split = split_traffic(service.deployments) if service.rollout is None else {}
        moves = request.image is not None and (image.reference != service.image or bool(split))
        is_trial = request.canary is not None or request.shadow is not None
        if not _is_tried_so(service, image, request):
            _refuse_beside_candidate(service, is_trial or request.image is not None)
        if settings == service.settings and not moves:
            return _unchanged(tx, principal, service)
        if request.replay is not None:
            refuse_unproven(
                tx, self._master_key, service, image, settings.for_replica(), request.replay
            )
        replaces = moves or settings.for_replica() != service.settings.for_replica()
        _refuse_beside_candidate(service, is_trial or replaces)
        if is_trial:
            _refuse_trial(service, split, replaces)
        how = "" if request.canary is None else f" as a {request.canary}"
        how = f" as a shadow of {request.shadow} %" if request.shadow is not None else how
        change = f"updating to {image.reference}"
        line = f"{change if moves else _changing(service.settings, settings)}{how}"
        if split and not moves:
            return self._share(tx, principal, service, split, settings, line)
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
        tried = (first_request(image),) if replaces else ()
        return self._accepted(tx, principal, changed, line, *tried)

    def _begin(self, answer: AcceptedService) -> None:
        """Let those know who make what was accepted."""
        if not answer.unchanged:
            self._operations.changed.notify()
            self._targets[answer.service.target].apply(answer.service)

    def split(
        self, principal: Principal, name: str, request: SplitService, key: str | None = None
    ) -> AcceptedService:
        """Have these images share the traffic of a service, and change settings with it.

        No error where it is so already.

        Raises:
            NotFound: There is no such service or image.
            Conflict: The service is being deleted, a candidate is being tried, or an image is not
                built.
            InvalidRequest: An image is named twice, or a setting is out of bounds.
        """
        with self._database.write() as tx:
            earlier = earlier_answer(tx, principal, key, request, AcceptedService, name)
            if earlier is not None:
                return earlier
            service = changeable(tx, principal, name)
            settings = changed_settings(name, service.settings, request.settings)
            refuse_unable(self._targets[service.target], settings)
            self._certificates.refuse_unusable(settings)
            _refuse_beside_candidate(service, replaces=True)
            images = [built(tx, principal, reference) for reference in request.shares]
            wanted = dict(zip((i.reference for i in images), request.shares.values(), strict=True))
            if len(wanted) < len(request.shares):
                raise InvalidRequest("an image is named twice", hint="give each image one share")
            shared = {d.image: d.weight for d in service.deployments if d.weight}
            if (wanted, settings) == (shared, service.settings):
                answer = _unchanged(tx, principal, service)
            else:
                line = f"splitting the traffic: {traffic_text(wanted)}"
                if settings != service.settings:
                    line += f", {_changing(service.settings, settings)}"
                answer = self._share(tx, principal, service, wanted, settings, line)
            remember_answer(tx, principal, key, request, answer, name)
        self._begin(answer)
        return answer

    def promote(self, principal: Principal, name: str) -> AcceptedService:
        """Give the candidate of a service all of the traffic, and retire what served before.

        Raises:
            NotFound: There is no such service.
            Conflict: No candidate is being tried, or the service is being deleted.
        """
        with self._database.write() as tx:
            service = changeable(tx, principal, name)
            rollout = service.rollout
            if rollout is None:
                raise Conflict(
                    f"`{name}` has no candidate to promote",
                    hint=f"`modelyard service update {name} --image … --canary 10%` makes one",
                )
            running = tx.operations.running(principal.workspace, f"service {name}")
            cancel(tx, running, "the candidate is promoted")
            reason = f"promoted at {rollout.stage} by {principal.name}"
            promoted = tx.services.move_rollout(service.id, Move.PROMOTE, reason)
            answer = self._accepted(tx, principal, promoted, f"promoting {service.image}")
        self._begin(answer)
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
            service = changeable(tx, principal, name)
            if service.rollout is not None:
                answer = self._take_back(tx, principal, service, service.rollout)
            else:
                answer = self._go_back(tx, principal, service)
        self._begin(answer)
        return answer

    def _take_back(
        self, tx: Transaction, principal: Principal, service: Service, rollout: Rollout
    ) -> AcceptedService:
        """Drop the candidate; what serves has all it needs."""
        running = tx.operations.running(principal.workspace, f"service {service.name}")
        cancel(tx, running, "the candidate is taken back")
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
        line = f"going back to {traffic_text(wanted)}, as of generation {before.generation}"
        if service.settings != before.settings:
            line += f", {_changing(service.settings, before.settings)}"
        return self._share(tx, principal, service, wanted, before.settings, line)

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
        images = [built(tx, principal, reference) for reference in shares]
        for image in images:
            refuse_unfit(self._targets[service.target], image)
        self._supersede(tx, principal, service)
        changed = tx.services.split(
            principal.workspace,
            service.name,
            list(zip(images, shares.values(), strict=True)),
            settings,
            principal.name,
        )
        tried = dict.fromkeys(first_request(image) for image in images)
        return self._accepted(tx, principal, changed, line, *tried)

    def _accepted(
        self, tx: Transaction, principal: Principal, service: Service, *lines: str
    ) -> AcceptedService:
        operation = begin(tx, principal, OperationKind.SERVICE_UPDATE, service.name)
        tx.operations.append_log(operation.id, "service", lines)
        return AcceptedService(service=service, operation=operation)

    def _supersede(self, tx: Transaction, principal: Principal, service: Service) -> None:
        """Give up a change that is still on its way, so that the next starts from what serves."""
        running = tx.operations.running(principal.workspace, f"service {service.name}")
        if running:
            cancel(tx, running, "a newer change takes its place")
            if service.rollout is None:
                tx.services.revert(service.id, service.generation)
        elif service.rollout is None:
            tx.services.retire(service.id)  # what is still judged counts as what serves


def _changing(before: ServiceSettings, after: ServiceSettings) -> str:
    """What a change of settings alone is about, as a line of the operation's log."""
    names = (n for n in ServiceSettings.model_fields if getattr(before, n) != getattr(after, n))
    return f"changing {', '.join(names)}"


def _unchanged(tx: Transaction, principal: Principal, service: Service) -> AcceptedService:
    """The answer to who asks for what is so already, or on its way to be."""
    running = tx.operations.running(principal.workspace, f"service {service.name}")
    operation = begin(tx, principal, OperationKind.SERVICE_UPDATE, service.name)
    line = f"nothing changed: `{service.name}` is already asked to be so"
    if running:
        line += f"; operation {running[-1].id} brings it there"
    tx.operations.append_log(operation.id, "service", [line])
    operation = tx.operations.finish(operation.id, OperationState.SUCCEEDED)
    return AcceptedService(service=service, operation=operation, unchanged=True)


def _is_tried_so(service: Service, image: Image, request: UpdateService) -> bool:
    """Whether this very candidate is being tried in this very way."""
    rollout = service.rollout
    return (
        rollout is not None
        and image.reference == service.image
        and (request.canary, request.shadow or 0) == (rollout.canary, rollout.shadow)
    )


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
            f"the traffic of `{service.name}` is split: {traffic_text(split)}",
            hint="a candidate is tried beside one image: update to one all at once first",
        )
    if not replaces:
        raise InvalidRequest(
            "a change of these settings replaces no replicas: there is no candidate to try",
            hint="make it all at once, or name another image",
        )
