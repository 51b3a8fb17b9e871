"""What came of looking for a faster form of an image's model.

The search itself runs in the image's environment (`modelyard_runtime.optimizing`); its report is
read into these, and the image keeps it.
"""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field

from modelyard.domain.profile import milliseconds
from modelyard.domain.values import Value


class Speed(Value):
    """Seconds that scoring takes, without HTTP."""

    single: float = Field(gt=0)
    """One row in a call."""
    batched: float = Field(gt=0)
    """Each row, 256 in a call."""


class Disagreement(Value):
    """The row on which a form differs most from the model."""

    method: str
    row: tuple[float | None, ...]
    expected: str
    got: str


class Agreement(Value):
    """How well a form agrees with the model."""

    rows: int
    """That were compared."""
    differing: int
    """Rows whose answer is another, beyond the tolerance. A form with any is not kept."""
    ties: int
    """Rows with another class where the model finds both as probable, within the tolerance."""
    largest: float | None = None
    """Largest absolute difference of two numbers; null when it has no bound."""
    worst: Disagreement | None = None


class Form(Value):
    """What became of one form that was tried."""

    name: str
    problem: str = ""
    """Why it cannot be kept; empty when it could."""
    agreement: Agreement | None = None
    speed: Speed | None = None
    threads: int | None = None
    """That compute one call; null for as many as the replica has cores."""


class Footprint(Value):
    """What the check start of an image showed, with one form of the model."""

    cold_start: float
    """Seconds until every worker was ready."""
    memory: int
    """Bytes of all its processes."""

    def describe(self) -> str:
        """Both, for people."""
        return f"ready after {self.cold_start:.2f} s, using {self.memory / (1 << 20):.0f} MiB"


class Optimization(Value):
    """What was tried and what is kept."""

    problem: str = ""
    """Why nothing is kept, when that is not for the forms; empty otherwise."""
    kept: str | None = None
    """Name of the form that is kept; null when the model stays as it is."""
    rtol: float = 0.0
    """Numbers agree when they differ by at most `atol` + `rtol` times the model's own."""
    atol: float = 0.0
    probes: dict[str, int] = {}
    """Rows that were compared, by kind."""
    before: Speed | None = None
    """Of the model as it is."""
    candidates: tuple[Form, ...] = ()
    threads: int | None = None
    """Threads of the kept form; null for as many as the replica has cores."""
    batches: bool = True
    """Requests that wait together are scored in one call."""
    methods: tuple[str, ...] = ()
    """What the kept form answers."""
    left_out: tuple[str, ...] = ()
    """Methods of the model that the kept form does not have."""
    original: Footprint | None = None
    optimized: Footprint | None = None

    @property
    def after(self) -> Speed | None:
        """Of the form that is kept."""
        return next((form.speed for form in self.candidates if form.name == self.kept), None)

    def lines(self) -> Iterator[str]:
        """The report for people."""
        if self.problem:
            yield f"kept as it is: {self.problem}"
        if self.probes:
            kinds = ", ".join(f"{count} {kind}" for kind, count in self.probes.items())
            yield f"compared {sum(self.probes.values())} rows: {kinds}"
            yield (
                f"tolerance: 0 other classes, numbers within {self.atol:g} + {self.rtol:g} of the "
                "model's"
            )
        for form in self.candidates:
            yield from self._about(form)
        if self.kept is not None:
            yield from self._about_kept()
        elif self.candidates:
            yield "kept as it is: no form is faster and answers the same"

    def gain(self) -> str:
        """What the kept form gained, in a few words; empty when none is kept."""
        if self.before is None or self.after is None:
            return ""
        single, batched = self.before.single, self.before.batched
        return (
            f"one row {milliseconds(single)} -> {milliseconds(self.after.single)} "
            f"({single / self.after.single:.1f} times as fast), of 256 each "
            f"{milliseconds(batched)} -> {milliseconds(self.after.batched)} "
            f"({batched / self.after.batched:.1f} times)"
        )

    def _about(self, form: Form) -> Iterator[str]:
        yield f"{form.name}: {form.problem or 'it answers the same'}"
        if form.agreement is not None and form.agreement.worst is not None:
            worst = form.agreement.worst
            yield f"  worst: {worst.method} of {_row(worst.row)}"
            yield f"  gives {worst.got}, the model {worst.expected}"
        if form.agreement is not None and form.agreement.ties:
            yield f"  ties of two classes that went the other way: {form.agreement.ties}"

    def _about_kept(self) -> Iterator[str]:
        threads = "the replica's" if self.threads is None else str(self.threads)
        batches = "on" if self.batches else "off"
        yield f"kept {self.kept}: {self.gain()}"
        yield f"settings: threads {threads}, batching {batches}"
        if self.original is not None and self.optimized is not None:
            yield f"before: {self.original.describe()}"
            yield f"after: {self.optimized.describe()}"
        if self.left_out:
            yield f"not offered any longer: {', '.join(self.left_out)}"


def _row(values: tuple[float | None, ...]) -> str:
    return f"[{', '.join('null' if value is None else repr(value) for value in values)}]"
