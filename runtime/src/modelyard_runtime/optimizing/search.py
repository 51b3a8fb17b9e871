"""Tries the forms of a model until one can be kept, and settles how it is run."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
import numpy as np
import onnxruntime as ort
from msgspec import structs

from modelyard_runtime.frameworks.answers import Array
from modelyard_runtime.frameworks.matrix import Matrix
from modelyard_runtime.frameworks.optimized import Interface, Method, methods
from modelyard_runtime.frameworks.signature import Served
from modelyard_runtime.optimizing.agreement import ATOL, RTOL, Agreement, compare
from modelyard_runtime.optimizing.forms import INPUT, Form, forms_of
from modelyard_runtime.optimizing.gain import BATCH, Speed, speed_of
from modelyard_runtime.optimizing.probes import Probes, probes_for
from modelyard_runtime.optimizing.trees import last_step, members, thresholds_of

_KEPT = ("predict", "predict_proba")
_LEAST_GAIN = 1.1
_WORTH_THREADS = 0.0005
"""Seconds of a call below which handing parts of it to other threads costs more than it brings."""
_LEAST_THREAD_GAIN = 1.3
"""More than one thread has to be worth the cores that it takes from other workers."""
_CLEARLY_SLOWER = 1.5
"""A row in a batch that takes this many times a row alone: joining requests is no gain at all."""
_LONGEST = 300


class Candidate(msgspec.Struct, frozen=True):
    """What became of one form."""

    name: str
    problem: str = ""
    """Why it cannot be kept; empty when it could."""
    agreement: Agreement | None = None
    speed: Speed | None = None
    threads: int | None = 1
    """That compute one call; None: as many as the replica has."""


class Report(msgspec.Struct, frozen=True):
    """What was tried and what is kept."""

    problem: str = ""
    """Why nothing was tried; empty when something was."""
    kept: str | None = None
    """Name of the form that is kept; None: the model stays as it is."""
    rtol: float = RTOL
    atol: float = ATOL
    probes: dict[str, int] = {}
    """Rows that were compared, by kind."""
    before: Speed | None = None
    candidates: tuple[Candidate, ...] = ()
    threads: int | None = None
    batches: bool = True
    methods: tuple[str, ...] = ()
    """What the kept form answers."""
    left_out: tuple[str, ...] = ()
    """Methods of the model that the kept form does not have."""


class Found(msgspec.Struct, frozen=True):
    """The report, and the graph and its interface if one is kept."""

    report: Report
    graph: bytes = b""
    interface: Interface | None = None


def search(model: Any, served: Served, sample: Array | None, cores: int) -> Found:
    """Try forms of a model until one agrees with it and is faster.

    Args:
        model: The loaded object.
        served: How it is served as it is.
        sample: Rows that callers send, if they are known.
        cores: Most threads to try.
    """
    rows = served.inputs
    if not isinstance(rows, Matrix) or rows.takes_text or rows.width is None:
        return Found(Report(problem="only models that take rows of numbers are converted"))
    if "predict" not in served.methods:
        return Found(Report(problem="only models that predict are converted"))
    thresholds = thresholds_of(model)
    if not thresholds.finite:
        return Found(Report(problem="its trees split on whether a value is missing"))
    probes = probes_for(model, sample, rows.width, thresholds, takes_missing=rows.takes_missing)
    original = Original(model, served, rows, probes)
    trials = []
    for form in forms_of(model, rows.width, thresholds):
        trials.append(original.try_form(form, cores))
        if not trials[-1].candidate.problem:
            break  # forms that agree are about as fast, and an image must not depend on noise
    return _settle(original, trials)


class Trial(NamedTuple):
    """A form that was tried."""

    candidate: Candidate
    form: Form
    interface: Interface | None = None


class Original:
    """The model as it is: what it takes, what it answers, and how fast."""

    def __init__(self, model: Any, served: Served, rows: Matrix, probes: Probes) -> None:
        self.served = served
        self.rows = rows
        self.probes = probes
        self._values = probes.rows.astype(rows.dtype, copy=False)
        self._timed = np.resize(self._values, (BATCH, self._values.shape[1]))
        self.answers = {
            name: np.asarray(served.methods[name](self._values))
            for name in _KEPT
            if name in served.methods
        }
        # Classes may be of any type, but a booster alone answers floats that are measured.
        self._chosen = hasattr(last_step(model), "classes_") or (
            self.answers["predict"].dtype.kind != "f"
        )
        self._classes = _voted_on(model)
        self.speed = speed_of(served.methods["predict"], self._timed)

    def try_form(self, form: Form, cores: int) -> Trial:
        """Whether a form agrees, and how fast it is; in the number of threads that suits it."""
        if form.problem:
            return Trial(Candidate(form.name, form.problem), form)
        try:
            return self._try(form, cores)
        except Exception as error:  # onnxruntime refuses a graph with whatever it likes
            said = " ".join(str(error).split())[:_LONGEST]
            return Trial(Candidate(form.name, f"it cannot be run: {said}"), form)

    def _try(self, form: Form, cores: int) -> Trial:
        session = _session(form.graph, 1)
        interface = self._interface(session, form)
        if interface is None:
            return Trial(Candidate(form.name, "its outputs are not those of the model"), form)
        offered = methods(session, interface)
        got = {name: method(self._values) for name, method in offered.items()}
        agreement = compare(self._values, self.answers, got, chosen=self._chosen)
        if agreement.differing:
            said = f"{agreement.differing} of {agreement.rows} rows are answered differently"
            return Trial(Candidate(form.name, said, agreement), form)
        speed = speed_of(offered["predict"], self._timed)
        threads: int | None = 1
        if cores > 1 and speed.single > _WORTH_THREADS:
            many = methods(_session(form.graph, cores), interface)
            parallel = speed_of(many["predict"], self._timed)
            if parallel.single * _LEAST_THREAD_GAIN < speed.single:
                speed, threads = parallel, None
        candidate = Candidate(form.name, _too_slow(self.speed, speed), agreement, speed, threads)
        return Trial(candidate, form, interface)

    def _interface(self, session: ort.InferenceSession, form: Form) -> Interface | None:
        outputs = session.get_outputs()
        found = {
            name: self._method(name, answer, [output.name for output in outputs])
            for name, answer in self.answers.items()
        }
        known = {name: method for name, method in found.items() if method is not None}
        if known.keys() != found.keys():
            return None
        return Interface(
            input=INPUT,
            dtype=form.dtype,
            width=self.rows.width or 0,
            names=None if self.rows.names is None else list(self.rows.names),
            row_dtype=self.rows.dtype.str,
            takes_missing=self.rows.takes_missing,
            methods=known,
            outputs=list(self.served.outputs),
            output_schema=self.served.output_schema,
            threads=1,
            batches=True,
        )

    def _method(self, name: str, answer: Array, outputs: list[str]) -> Method | None:
        """Where in the graph a method's answer is: a classifier has two outputs, others one."""
        dtype = answer.dtype.str
        if len(outputs) == 1:
            shape = "flat" if answer.ndim == 1 else "rows"
            return Method(outputs[0], shape, dtype) if name == "predict" else None
        if len(outputs) != 2:
            return None
        label, scores = outputs
        if name == "predict_proba":
            return Method(scores, "rows", dtype)
        if self._classes is not None:
            return Method(scores, "rows", dtype, self._classes)
        if self._chosen:
            return Method(label, "flat", dtype)
        # A booster without the interface of scikit-learn predicts probabilities.
        return Method(scores, "second" if answer.ndim == 1 else "rows", dtype)


def _session(graph: bytes, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _voted_on(model: Any) -> list[Any] | None:
    """The classes of a forest, whose probabilities are sums of votes; None of anything else."""
    last = last_step(model)
    classes = getattr(last, "classes_", None)
    if classes is None or not hasattr(last, "oob_score") or len(members(last)) < 2:
        return None
    return list(classes.tolist())


def _too_slow(before: Speed, after: Speed) -> str:
    gain = before.single / after.single
    return "" if gain >= _LEAST_GAIN else f"it is not faster: {gain:.2f} times the model's speed"


def _settle(original: Original, trials: list[Trial]) -> Found:
    best = trials[-1]
    report = Report(
        probes=original.probes.kinds,
        before=original.speed,
        candidates=tuple(trial.candidate for trial in trials),
    )
    if best.candidate.problem or best.interface is None or best.candidate.speed is None:
        return Found(report)
    batches = best.candidate.speed.batched < _CLEARLY_SLOWER * best.candidate.speed.single
    interface = structs.replace(best.interface, threads=best.candidate.threads, batches=batches)
    kept = structs.replace(
        report,
        kept=best.form.name,
        threads=best.candidate.threads,
        batches=batches,
        methods=tuple(interface.methods),
        left_out=tuple(name for name in original.served.methods if name not in interface.methods),
    )
    return Found(kept, best.form.graph, interface)
