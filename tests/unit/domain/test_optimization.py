"""How the report of a search reads."""

from __future__ import annotations

from modelyard.domain.optimization import (
    Agreement,
    Disagreement,
    Footprint,
    Form,
    Optimization,
    Speed,
)

WORST = Disagreement(method="predict", row=(0.1, None), expected="0", got="1")
REFUSED = Form(
    name="ONNX, 32 bits",
    problem="2 of 900 rows are answered differently",
    agreement=Agreement(rows=900, differing=2, ties=3, largest=0.5, worst=WORST),
)
KEPT = Form(
    name="ONNX, 64 bits",
    agreement=Agreement(rows=900, differing=0, ties=0, largest=1e-9),
    speed=Speed(single=0.0001, batched=0.00001),
    threads=1,
)
REPORT = Optimization(
    kept=KEPT.name,
    rtol=1e-4,
    atol=1e-5,
    probes={"sample": 100, "thresholds": 800},
    before=Speed(single=0.01, batched=0.0002),
    candidates=(REFUSED, KEPT),
    threads=1,
    methods=("predict",),
    left_out=("decision_function",),
    original=Footprint(cold_start=2.5, memory=150 << 20),
    optimized=Footprint(cold_start=0.8, memory=100 << 20),
)


def test_everything_is_told_in_the_order_it_happened() -> None:
    assert list(REPORT.lines()) == [
        "compared 900 rows: 100 sample, 800 thresholds",
        "tolerance: 0 other classes, numbers within 1e-05 + 0.0001 of the model's",
        "ONNX, 32 bits: 2 of 900 rows are answered differently",
        "  worst: predict of [0.1, null]",
        "  gives 1, the model 0",
        "  ties of two classes that went the other way: 3",
        "ONNX, 64 bits: it answers the same",
        "kept ONNX, 64 bits: one row 10 ms -> 0.1 ms (100.0 times as fast), of 256 each 0.2 ms -> "
        "0.01 ms (20.0 times)",
        "settings: threads 1, batching on",
        "before: ready after 2.50 s, using 150 MiB",
        "after: ready after 0.80 s, using 100 MiB",
        "not offered any longer: decision_function",
    ]


def test_nothing_kept_says_why() -> None:
    assert list(Optimization(problem="it takes frames").lines()) == [
        "kept as it is: it takes frames"
    ]
    kept = REPORT.model_copy(update={"kept": None, "candidates": (REFUSED,)})
    assert list(kept.lines())[-1] == "kept as it is: no form is faster and answers the same"
    assert kept.after is None
    assert kept.gain() == ""


def test_a_report_survives_storage() -> None:
    assert Optimization.model_validate_json(REPORT.model_dump_json()) == REPORT
