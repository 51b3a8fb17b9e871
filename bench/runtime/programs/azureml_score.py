"""The original's own script style: raw text in, `json.loads`, one `run` a request."""

import json

import calls


def init():
    """Load the model."""
    global call
    call = calls.load()


def run(raw_data):
    """Score rows."""
    return call(json.loads(raw_data)["data"]).tolist()
