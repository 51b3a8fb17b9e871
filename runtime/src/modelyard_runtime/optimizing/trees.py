"""The thresholds of tree models: where a rounded number may take another branch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np


class Thresholds:
    """Every split of a model.

    Args:
        found: Feature and threshold of each.
    """

    def __init__(self, found: Iterator[tuple[int, float]]) -> None:
        pairs = list(found)
        self.features = np.array([feature for feature, _ in pairs], dtype=np.int64)
        self.values = np.array([value for _, value in pairs], dtype=np.float64)

    @property
    def finite(self) -> bool:
        """No split tells missing values from all others, which an infinite threshold does."""
        return bool(np.isfinite(self.values).all())

    def __len__(self) -> int:
        return len(self.values)

    def exact(self) -> dict[tuple[int, float], float]:
        """The threshold that became a number of 32 bits, by feature and that number."""
        narrow = self.values.astype(np.float32).astype(np.float64)
        keys = zip(self.features.tolist(), narrow.tolist(), strict=True)
        return dict(zip(keys, self.values.tolist(), strict=True))


def thresholds_of(model: Any) -> Thresholds:
    """The splits of a model's last step; none of what is no tree."""
    last = last_step(model)
    package = type(last).__module__.partition(".")[0]
    if package == "xgboost":
        return Thresholds(_of_xgboost(getattr(last, "get_booster", lambda: last)()))
    if package == "lightgbm":
        return Thresholds(_of_lightgbm(getattr(last, "booster_", last)))
    return Thresholds(_of_sklearn(last))


def last_step(model: Any) -> Any:
    """What of a pipeline predicts; anything else is its own last step."""
    return model.steps[-1][1] if hasattr(model, "steps") else model


def _of_sklearn(model: Any) -> Iterator[tuple[int, float]]:
    for tree in members(model):
        inner = getattr(tree, "tree_", None)
        if inner is not None:
            splits = inner.feature >= 0
            yield from zip(inner.feature[splits], inner.threshold[splits], strict=True)
    for stage in getattr(model, "_predictors", ()):  # histogram gradient boosting
        for predictor in stage:
            nodes = predictor.nodes[predictor.nodes["is_leaf"] == 0]
            yield from zip(nodes["feature_idx"], nodes["num_threshold"], strict=True)


def members(model: Any) -> list[Any]:
    """The trees of a forest, in its order; any other model alone."""
    found = getattr(model, "estimators_", None)
    return [model] if found is None else list(np.ravel(np.asarray(found, dtype=object)))


def _of_xgboost(booster: Any) -> Iterator[tuple[int, float]]:
    names = {name: at for at, name in enumerate(booster.feature_names or ())}
    waiting = [json.loads(tree) for tree in booster.get_dump(dump_format="json")]
    while waiting:
        node = waiting.pop()
        if "split_condition" in node and not isinstance(node["split_condition"], list):
            name = node["split"]
            yield names[name] if names else int(name[1:]), float(node["split_condition"])
        waiting += node.get("children", ())


def _of_lightgbm(booster: Any) -> Iterator[tuple[int, float]]:
    waiting = [tree["tree_structure"] for tree in booster.dump_model()["tree_info"]]
    while waiting:
        node = waiting.pop()
        if "split_feature" in node:
            if node["decision_type"] == "<=":
                yield node["split_feature"], float(node["threshold"])
            waiting += [node["left_child"], node["right_child"]]
