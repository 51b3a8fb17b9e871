"""Two models in one image, found by name, by version and by folder."""

import glob
import json
import os

from azureml.core.model import Model


def init():
    global found
    root = os.getenv("AZUREML_MODEL_DIR")
    with open(Model.get_model_path("second", version=1)) as first:
        found = {
            "first": os.path.relpath(Model.get_model_path("diabetes"), root),
            "second": os.path.relpath(Model.get_model_path("second"), root),
            "text": first.read(),
            "all": sorted(os.path.relpath(path, root) for path in glob.glob(root + "/*/*/*")),
        }


def run(data):
    return json.dumps(found)
