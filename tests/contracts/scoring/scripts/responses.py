"""Undecorated, and yet with answers of its own."""

import json

from azureml_inference_server_http.api.aml_response import AMLResponse


def init():
    pass


def run(raw_data):
    asked = json.loads(raw_data)
    if asked.get("parts"):
        return AMLResponse((f"{n}\n" for n in range(3)), 200, {"Content-Type": "text/csv"})
    if asked.get("bad"):
        return AMLResponse({"error": "bad input"}, 400, json_str=True)
    response = AMLResponse("made", 200)
    response.headers["X-Late"] = "set"
    response.status_code = 206
    return response
