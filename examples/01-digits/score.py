"""Reads handwritten digits: 64 brightness values in, the digit out."""

import os
from pathlib import Path

import joblib

model = None


def init():
    global model
    model = joblib.load(next(Path(os.environ["AZUREML_MODEL_DIR"]).glob("*.joblib")))


def run(rows: list):
    return model.predict(rows).tolist()
