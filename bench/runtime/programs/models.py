"""Makes the models, inputs and right answers of all workloads, seeded, in the floor's environment.

`python models.py FOLDER` writes `iris.joblib`, `mlp.onnx`, `forest.joblib` and, for each workload,
rows and the right answer as `W1.json`. The right answers come from the models themselves, called
once without any server.
"""

from __future__ import annotations

import json
import sys
from itertools import pairwise
from pathlib import Path

import joblib
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_iris, make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

SEED = 7
LAYERS = (64, 256, 256, 10)
TENSOR = (256, 1024)
"""Of W4: with 4 bytes for each number, 1 MiB."""


def make_mlp() -> onnx.ModelProto:
    """A multi-layer perceptron with seeded weights: relu between the layers, softmax at the end."""
    random = np.random.default_rng(SEED)
    nodes, weights, name = [], [], "x"
    for number, (wide, narrow) in enumerate(pairwise(LAYERS), 1):
        scale = (2 / wide) ** 0.5
        matrix = (random.standard_normal((wide, narrow)) * scale).astype(np.float32)
        bias = (random.standard_normal(narrow) * 0.1).astype(np.float32)
        weights += [
            numpy_helper.from_array(matrix, f"w{number}"),
            numpy_helper.from_array(bias, f"b{number}"),
        ]
        inputs = [name, f"w{number}", f"b{number}"]
        nodes.append(helper.make_node("Gemm", inputs, [f"h{number}"]))
        last = number == len(LAYERS) - 1
        name = "y" if last else f"a{number}"
        activation = helper.make_node("Softmax" if last else "Relu", [f"h{number}"], [name])
        nodes.append(activation)
    graph = helper.make_graph(
        nodes,
        "mlp",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", LAYERS[0]])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", LAYERS[-1]])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model


def write_case(folder: Path, name: str, rows: np.ndarray, expected: np.ndarray) -> None:
    """The input and the right answer of one workload, flat."""
    case = {"rows": rows.tolist(), "expected": np.ravel(expected).astype(float).tolist()}
    (folder / f"{name}.json").write_text(json.dumps(case))


def main(folder: Path) -> None:
    """Write everything."""
    random = np.random.default_rng(SEED)
    flowers, kinds = load_iris(return_X_y=True)
    iris = LogisticRegression(max_iter=1000).fit(flowers, kinds)
    joblib.dump(iris, folder / "iris.joblib")
    write_case(folder, "W1", flowers[-1:], iris.predict(flowers[-1:]))

    (folder / "mlp.onnx").write_bytes(make_mlp().SerializeToString())
    session = onnxruntime.InferenceSession(folder / "mlp.onnx", providers=["CPUExecutionProvider"])
    for name, count in (("W2", 1), ("W3", 256)):
        rows = random.standard_normal((count, LAYERS[0]))
        answer = session.run(None, {"x": rows.astype(np.float32)})[0]
        write_case(folder, name, rows, answer)

    tensor = random.normal(1, 1, TENSOR).astype("<f4")
    (folder / "W4.bin").write_bytes(tensor.tobytes())
    write_case(folder, "W4", np.zeros((0, 0)), tensor.mean(dtype=np.float64))

    points, labels = make_classification(1000, 20, n_informative=12, random_state=SEED)
    forest = RandomForestClassifier(300, random_state=SEED).fit(points, labels)
    joblib.dump(forest, folder / "forest.joblib")
    positive = points[labels == 1][:1]
    write_case(folder, "W5", positive, forest.predict(positive))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
