"""What every change of a service goes through before it is accepted."""

from __future__ import annotations

from collections.abc import Sequence

from modelyard.domain.image import Image
from modelyard.domain.operation import Operation, OperationKind, OperationState
from modelyard.domain.principal import Principal
from modelyard.domain.service import Service, ServiceSettings, ServiceState
from modelyard.domain.validation import compose
from modelyard.domain.values import Reference
from modelyard.errors import Conflict, InvalidRequest
from modelyard.schemas import SettingsChange
from modelyard.store import Transaction
from modelyard.targets.base import Capability, Target


def built(tx: Transaction, principal: Principal, text: str) -> Image:
    """The image of a reference; without a version the latest that is built.

    Raises:
        NotFound: There is no such image.
        Conflict: It is not built.
    """
    reference = Reference.parse(text, "image")
    image = tx.images.get(principal.workspace, reference)
    if reference.version is None:
        image = tx.images.latest_built(principal.workspace, reference.name) or image
    image.built_manifest()
    return image


def changed_settings(
    name: str, settings: ServiceSettings, change: SettingsChange
) -> ServiceSettings:
    """The settings of a service after a change.

    Raises:
        InvalidRequest: One is out of bounds.
    """
    wanted = {**settings.model_dump(), **change.model_dump(exclude_none=True)}
    return compose(ServiceSettings, wanted, f"the specification of `{name}`")


def changeable(tx: Transaction, principal: Principal, name: str) -> Service:
    """A service that is not being deleted.

    Raises:
        NotFound: There is none of this name.
        Conflict: It is being deleted.
    """
    service = tx.services.get(principal.workspace, name)
    if service.status.state is ServiceState.DELETING:
        raise Conflict(
            f"`{name}` is being deleted", hint="wait until it is gone, then deploy it again"
        )
    return service


def begin(tx: Transaction, principal: Principal, kind: OperationKind, name: str) -> Operation:
    """The operation of a change that is accepted."""
    return tx.operations.add(principal.workspace, kind, f"service {name}", principal.name)


def cancel(tx: Transaction, running: Sequence[Operation], reason: str) -> None:
    """End operations that something newer takes the place of."""
    for operation in running:
        tx.operations.append_log(operation.id, "service", [f"cancelled: {reason}"])
        tx.operations.finish(operation.id, OperationState.CANCELLED, None)


def first_request(image: Image) -> str:
    """What replicas of an image score first, as a line of the operation's log."""
    if image.check is None or image.check.example is None:
        return f"{image.reference} has no sample: its replicas are not tried before they serve"
    return "each new replica scores the image's sample before it gets requests"


def refuse_unfit(target: Target, image: Image) -> None:
    """Refuse an image that a target cannot run.

    Raises:
        InvalidRequest: It has no base, and the target needs one.
    """
    baseless = image.manifest is not None and image.manifest.base is None
    if baseless and Capability.NEEDS_BASE in target.capabilities:
        raise InvalidRequest(
            f"image `{image.reference}` has no base to stand on, which the target "
            f"`{target.name}` needs",
            hint="build it again with a base, or deploy it to the target `local`",
        )


def refuse_unable(target: Target, settings: ServiceSettings) -> None:
    """Refuse settings that are beyond a target.

    Raises:
        InvalidRequest: They ask for more replicas than it runs.
    """
    most = settings.max_replicas or settings.replicas
    if most > 1 and Capability.REPLICAS not in target.capabilities:
        raise InvalidRequest(
            f"the target `{target.name}` runs one replica of a service, not {most}",
            hint="ask for one replica, or deploy to another target",
        )
