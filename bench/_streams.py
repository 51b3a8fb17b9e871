"""Rows of a made-up service: as they are, or with drift of one kind planted."""

from __future__ import annotations

from collections import Counter

import numpy as np

from modelyard.monitoring.sketches import Sketch, pack, unpack

PLANTED = {
    "shift": "age",
    "scale": "age",
    "missing": "income",
    "range": "income",
    "new": "country",
    "proportions": "country",
    "output": "output",
}
"""Kinds of drift, and the feature that each is in."""
Columns = dict[str, np.ndarray]


def rows(random: np.random.Generator, count: int, planted: str = "") -> Columns:
    """So many rows: objects are words, numbers may be missing."""
    age = random.normal(size=count)
    age = age + 0.5 if planted == "shift" else age * 1.6 if planted == "scale" else age
    income = random.lognormal(size=count)
    income[random.random(count) < (0.15 if planted == "missing" else 0.05)] = np.nan
    if planted == "range":
        income[random.random(count) < 0.05] = -999
    shares = [0.2, 0.3, 0.2, 0.3] if planted == "proportions" else [0.4, 0.3, 0.2, 0.1]
    country = random.choice(np.array(["de", "fr", "it", "pl"]), count, p=shares).astype(object)
    if planted == "new":
        country[random.random(count) < 0.03] = "xx"
    output = random.random(count)
    return {
        "age": age,
        "children": random.poisson(1.5, count).astype(float),
        "country": country,
        "customer": np.array([f"c{one}" for one in random.zipf(1.5, count) % 900], dtype=object),
        "income": income,
        "output": np.sqrt(output) if planted == "output" else output,
    }


def sketched(columns: Columns, parts: int = 1) -> Sketch:
    """What is kept of rows that came in several parts."""
    whole = Sketch()
    for places in np.array_split(np.arange(len(columns["age"])), parts):
        part = Sketch()
        part.rows = len(places)
        for name, column in columns.items():
            feature, cells = part.feature(name), column[places]
            assert feature is not None
            if cells.dtype == object:
                feature.values.add(Counter(cells.tolist()).items())
            else:
                feature.numbers.add(cells[np.isfinite(cells)])
        whole.merge(unpack(pack(part)))
    return whole
