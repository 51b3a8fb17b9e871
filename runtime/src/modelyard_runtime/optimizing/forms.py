"""Forms that a model may be converted to: ONNX graphs that differ in the precision of numbers.

Which form agrees with a model depends on how its library rounds: the trees of scikit-learn and
XGBoost compare numbers of 32 bits, those of LightGBM and of histogram gradient boosting 64.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import compose, helper, numpy_helper
from skl2onnx import to_onnx
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

from modelyard_runtime.optimizing.trees import Thresholds, last_step, members

INPUT = "input"
_NAME = "model"
"""Of every graph: converters would invent a new one each time."""
_OPSET = 15
"""The newest that the converters of boosters write."""
_OPSETS = {"": 18, "ai.onnx.ml": 3}
_TREES = ("TreeEnsembleClassifier", "TreeEnsembleRegressor")
_WIDENED = ("nodes_values", "base_values", "class_weights", "target_weights")
_LONGEST = 300


class Form(NamedTuple):
    """One graph, or why there is none."""

    name: str
    dtype: str
    """Type of the graph's input."""
    graph: bytes
    problem: str = ""


def forms_of(model: Any, width: int, thresholds: Thresholds) -> Iterator[Form]:
    """Every form to try, the cheapest to compute first."""
    package = type(last_step(model)).__module__.partition(".")[0]
    convert = _WITH_TOOLS.get(package, _by_skl2onnx)
    yield _made("ONNX, 32 bits", "f4", lambda: convert(model, width, FloatTensorType))
    if convert is _by_skl2onnx:
        yield _made("ONNX, 64 bits", "f8", lambda: convert(model, width, DoubleTensorType))
    if len(thresholds) and model is not last_step(model):
        yield _made("ONNX, trees of 32 bits behind 64", "f8", lambda: _mixed(model, width))
    if len(thresholds) and (package == "lightgbm" or hasattr(model, "_predictors")):
        yield _made(
            "ONNX, thresholds of 64 bits",
            "f8",
            lambda: _widened(convert(model, width, FloatTensorType), thresholds),
        )


def _made(name: str, dtype: str, make: Callable[[], onnx.ModelProto]) -> Form:
    try:
        return Form(name, dtype, make().SerializeToString(deterministic=True))
    except Exception as error:  # converters raise all there is; whatever it was, there is no graph
        said = " ".join(str(error).split())[:_LONGEST]
        return Form(name, dtype, b"", f"it cannot be converted: {said or type(error).__name__}")


def _by_skl2onnx(model: Any, width: int, kind: type) -> onnx.ModelProto:
    classifies = hasattr(model, "predict_proba")
    graph: onnx.ModelProto = to_onnx(
        model,
        name=_NAME,
        initial_types=[(INPUT, kind([None, width]))],
        target_opset=_OPSETS,
        options={id(model): {"zipmap": False}} if classifies else None,
    )
    _mend_missing(graph, last_step(model))
    return graph


def _mixed(model: Any, width: int) -> onnx.ModelProto:
    """A pipeline that computes with 64 bits until its trees round what they are given."""
    first: onnx.ModelProto = to_onnx(
        model[:-1],
        name=_NAME,
        initial_types=[(INPUT, DoubleTensorType([None, width]))],
        target_opset=_OPSETS,
    )
    trees = last_step(model)
    last = _by_skl2onnx(trees, trees.n_features_in_, FloatTensorType)
    (output,) = first.graph.output
    first.graph.node.append(
        helper.make_node("Cast", [output.name], ["rounded"], to=onnx.TensorProto.FLOAT)
    )
    output.name = "rounded"
    output.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    for part in (first, last):
        del part.opset_import[:]
        part.opset_import.extend(helper.make_opsetid(*opset) for opset in _OPSETS.items())
    last.ir_version = first.ir_version
    prefixed = compose.add_prefix(last, "trees_")
    return compose.merge_models(first, prefixed, [("rounded", f"trees_{INPUT}")], name=_NAME)


def _mend_missing(graph: onnx.ModelProto, model: Any) -> None:
    """Send missing values where the trees of scikit-learn send them: the converter does not."""
    trees = [tree.tree_ for tree in members(model) if hasattr(tree, "tree_")]
    for node in graph.graph.node:
        given = {attribute.name: attribute for attribute in node.attribute}
        nodes = given["nodes_treeids"].ints if node.op_type in _TREES else ()
        if nodes and len(nodes) == sum(tree.node_count for tree in trees):
            places = zip(nodes, given["nodes_nodeids"].ints, strict=True)
            left = [int(trees[tree].missing_go_to_left[place]) for tree, place in places]
            del given["nodes_missing_value_tracks_true"].ints[:]
            given["nodes_missing_value_tracks_true"].ints.extend(left)


def _from_lightgbm(model: Any, width: int, kind: type) -> onnx.ModelProto:
    tools: Any = import_module("onnxmltools")
    graph: onnx.ModelProto = tools.convert_lightgbm(
        model, _NAME, _types(width), target_opset=_OPSET, zipmap=False
    )
    return graph


def _from_xgboost(model: Any, width: int, kind: type) -> onnx.ModelProto:
    tools: Any = import_module("onnxmltools")
    nameless = copy.deepcopy(model)
    getattr(nameless, "get_booster", lambda: nameless)().feature_names = None
    graph: onnx.ModelProto = tools.convert_xgboost(
        nameless, _NAME, _types(width), target_opset=_OPSET
    )
    return graph


def _types(width: int) -> list[tuple[str, Any]]:
    types = import_module("onnxmltools.convert.common.data_types")
    return [(INPUT, types.FloatTensorType([None, width]))]


_WITH_TOOLS: dict[str, Callable[[Any, int, type], onnx.ModelProto]] = {
    "lightgbm": _from_lightgbm,
    "xgboost": _from_xgboost,
}


def _widened(graph: onnx.ModelProto, thresholds: Thresholds) -> onnx.ModelProto:
    """The graph with the model's own thresholds in place of those that a converter rounded."""
    exact = thresholds.exact()
    for node in graph.graph.node:
        if node.op_type in _TREES:
            _widen(node, exact)
    tensor = graph.graph.input[0].type.tensor_type
    tensor.elem_type = onnx.TensorProto.DOUBLE
    for opset in graph.opset_import:
        if opset.domain == "ai.onnx.ml":
            opset.version = 3  # the first that has such thresholds
    return graph


def _widen(node: onnx.NodeProto, exact: dict[tuple[int, float], float]) -> None:
    given = {attribute.name: attribute for attribute in node.attribute}
    features = given["nodes_featureids"].ints
    for name in _WIDENED:
        if name not in given:
            continue
        values = np.array(given[name].floats, dtype=np.float64)
        if name == "nodes_values":
            pairs = zip(features, values.tolist(), strict=True)
            values = np.array([exact.get(pair, pair[1]) for pair in pairs])
        tensor = numpy_helper.from_array(values, f"{name}_as_tensor")
        node.attribute.remove(given[name])
        node.attribute.append(helper.make_attribute(f"{name}_as_tensor", tensor))
