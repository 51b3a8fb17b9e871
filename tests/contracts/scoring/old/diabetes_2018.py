"""A scoring script of 2018, as notebooks of the time wrote it."""

import json

import numpy as np
from azureml.core.model import Model
from azureml.monitoring import ModelDataCollector
from sklearn.externals import joblib


def init():
    global model, inputs_dc, prediction_dc
    model = joblib.load(Model.get_model_path("diabetes"))
    inputs_dc = ModelDataCollector("diabetes", identifier="inputs", feature_names=["a", "b"])
    prediction_dc = ModelDataCollector(
        "diabetes", identifier="predictions", feature_names=["prediction1"]
    )


def run(raw_data):
    try:
        rows = np.array(json.loads(raw_data)["data"])
        result = model.predict(rows)
        inputs_dc.collect(rows)
        prediction_dc.collect(result)
        print("collected", len(rows), flush=True)  # noqa: T201
        return json.dumps({"result": result.tolist()})
    except Exception as error:
        return json.dumps({"error": str(error)})
