"""A reproduction: one past prediction, made once more by the image that made it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pydantic import computed_field

from modelyard.domain.change import ServiceChange
from modelyard.domain.difference import Answer, Difference, Tolerance, compare
from modelyard.domain.replay import Recorded, Unfit, first_line, has_stand_ins
from modelyard.domain.service import ReplicaSettings
from modelyard.domain.values import Digest, Value

_UNEXPLAINED = (
    "Nothing that is recorded explains it: the script may keep something from one request to the "
    "next, or read the time, files or the network; or another processor computes otherwise."
)
_UNFIT = {
    Unfit.CUT: "The recorded answer is not whole: it was too long, or came in parts.",
    Unfit.WITHHELD: "The answer was not recorded: a rule could not be applied to it.",
}


class Reproduction(Value):
    """One past prediction, made once more by the same image."""

    prediction_id: str
    time: datetime
    """When it was answered."""
    service: str
    image: str
    """`name:version`."""
    digest: Digest
    equal: bool | None
    """The image answers as it did; null: there is nothing to compare with."""
    difference: Difference | None
    """Between the recorded answer and the first one of now."""
    runs: int
    """How often it was asked."""
    other: int
    """How many of its answers differ from the first one."""
    before: str
    """Beginning of the recorded answer."""
    after: str
    """Beginning of the first one of now."""
    status_before: int
    status_after: int
    """0: no answer at all."""
    reasons: tuple[str, ...]
    """Why it differs, or may; a sentence each."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def verdict(self) -> str:
        """One sentence."""
        if self.equal is None:
            return f"{self.image} answers, but there is nothing to compare with."
        if self.difference is None:
            return f"{self.image} answers as it did."
        what = self.difference
        place = f" at `{what.path}`" if what.path else ""
        size = "" if what.apart is None else f", {what.apart:.4g} apart"
        return (
            f"{self.image} answers otherwise: another {_WORDS[what.kind]}{place}, {what.before} "
            f"before and {what.after} now{size}."
        )


_WORDS = {"status": "status", "shape": "shape", "values": "value"}


def settings_then(
    history: Sequence[ServiceChange], image: str, time: datetime
) -> ReplicaSettings | None:
    """The settings that replicas of an image had; None: nobody knows.

    Args:
        history: Of the service, newest first.
        image: `name:version`.
        time: When a replica answered.
    """
    for change in history:
        if change.at <= time and (change.image == image or image in change.traffic):
            return change.settings.for_replica()
    return None


def changed_since(then: ReplicaSettings, now: ReplicaSettings) -> tuple[str, ...]:
    """Names of the settings that are not as they were; of variables each by its own."""
    names = [n for n in ReplicaSettings.model_fields if getattr(then, n) != getattr(now, n)]
    if "environment" in names:
        names.remove("environment")
        both = {**then.environment, **now.environment}
        names += [n for n in both if then.environment.get(n) != now.environment.get(n)]
    return tuple(names)


def reproduce(
    recorded: Recorded,
    answers: Sequence[Answer],
    tolerance: Tolerance,
    *,
    service: str,
    digest: str,
    circumstances: Sequence[str],
) -> Reproduction:
    """What came of it.

    Args:
        recorded: The prediction.
        answers: Of now, to the same request; at least one.
        tolerance: What counts as the same.
        service: Whose it was.
        digest: Of the image.
        circumstances: What else is not as it was, a sentence each.
    """
    first, *others = answers
    unfit = recorded.why_not_compared()
    difference = compare(recorded.answer, first, tolerance) if unfit is None else None
    other = sum(compare(first, one, tolerance) is not None for one in others)
    reasons = _reasons(recorded, unfit, other, len(answers))
    if difference is not None and not reasons:
        reasons.append(_UNEXPLAINED)
    return Reproduction(
        prediction_id=recorded.prediction_id,
        time=recorded.time,
        service=service,
        image=recorded.image,
        digest=digest,
        equal=None if unfit is not None else difference is None,
        difference=difference,
        runs=len(answers),
        other=other,
        before=first_line(recorded.output or b""),
        after=first_line(first.body),
        status_before=recorded.status,
        status_after=first.status,
        reasons=(*circumstances, *reasons),
    )


def _reasons(recorded: Recorded, unfit: Unfit | None, other: int, runs: int) -> list[str]:
    reasons = []
    if unfit is Unfit.GATEWAY:
        reasons.append(
            f"The recorded answer is the gateway's own, `{recorded.code}`: no model has given it."
        )
    elif unfit is Unfit.ALTERED:
        reasons.append(f"{_altered(recorded.output)} the recorded answer.")
    elif unfit is not None:
        reasons.append(_UNFIT[unfit])
    if recorded.why_not_sent(altered=False) is Unfit.ALTERED:
        reasons.append(
            f"{_altered(recorded.input)} the recorded input; the image got what is recorded."
        )
    if other:
        reasons.append(
            f"The image does not agree with itself: {other} of {runs} answers differ from the "
            "first one of now."
        )
    return reasons


def _altered(body: bytes | None) -> str:
    """What a dropped field leaves is only another length, which another spelling has, too."""
    return "A rule has altered" if has_stand_ins(body) else "A rule may have altered"
