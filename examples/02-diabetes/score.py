"""Predicts the progression of diabetes from ten measured values."""

import os
import pickle
from pathlib import Path

model = None


def init():
    global model
    model = pickle.loads(Path(os.environ["MODELYARD_MODEL_DIR"], "diabetes.pkl").read_bytes())


def run(data: dict):
    return {"progression": model.predict(data["rows"]).round(1).tolist()}
