"""How good a service's answers were, by what was told of them later."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import AwareDatetime

from modelyard.domain.values import Spec, Value


class Task(StrEnum):
    """What answers are."""

    CLASSIFICATION = "classification"
    """One of several classes."""
    REGRESSION = "regression"
    """Numbers, which may be near the truth or far."""


class Period(StrEnum):
    """Of what length, UTC."""

    HOUR = "hour"
    DAY = "day"


class AskQuality(Spec):
    """Of which answers the quality is wanted, and how it is measured."""

    since: AwareDatetime | None = None
    """Answers from then on."""
    until: AwareDatetime | None = None
    """Answers before then."""
    by: Period | None = None
    """Figures for each period; unset: for all of the time."""
    task: Task | None = None
    """Unset: it follows from truths and answers."""
    output: str | None = None
    """Name of the value that is compared, where an answer has several."""
    scores: str | None = None
    """Name of the value with the chances of classes."""


class ConfusionCounts(Value):
    """How often each class was answered where each was true."""

    classes: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    """A line for each true class, a column for each answered one."""


class Measured(Value):
    """The quality of some answers."""

    rows: int
    """Rows that were answered."""
    labelled: int
    """Those of which the truth was told."""
    unusable: int = 0
    """Of these, such as cannot be compared: the truth or the answer is of another kind."""
    figures: dict[str, float | None] = {}
    """Of the others. Classification: `accuracy`, `balanced_accuracy`, `precision`, `recall`, `f1`,
    and with chances `roc_auc` and `log_loss`. Regression: `mae`, `rmse`, `r2`, `bias`."""
    accuracy_interval: tuple[float, float] | None = None
    """Where the accuracy lies with 95 % confidence."""
    confusion: ConfusionCounts | None = None
    """Unless there are more than 50 classes."""

    @property
    def unlabelled(self) -> int:
        """Rows whose truth was not told."""
        return self.rows - self.labelled


class MeasuredQuality(Measured):
    """The quality of one deployment's answers, in one period."""

    deployment: str | None
    image: str | None
    """`name:version`."""
    model: str
    version: int
    period: datetime | None = None
    """Its begin; null: all of the time."""


class ComparedQuality(Value):
    """The quality of two images' answers to the same requests."""

    task: Task
    before: Measured
    """Of the answers that were recorded."""
    after: Measured
    """Of the candidate's."""


class Quality(Value):
    """How good a service's answers were."""

    service: str
    task: Task | None
    """Null: no truth was told of any of them."""
    measured: tuple[MeasuredQuality, ...]
    """By period, and by deployment in the order of their first answers."""
    unmatched: int | None = None
    """Truths of rows that there is no record of, whenever they were told; null: not counted."""
