"""Reads requests itself, and says itself what is answered."""

import json

from azureml.contrib.services.aml_request import rawhttp
from azureml.contrib.services.aml_response import AMLResponse


def init():
    pass


@rawhttp
def run(request):
    what = request.args.get("do", "look")
    return DOINGS[what](request)


def look(request):
    return {
        "method": request.method,
        "path": request.path,
        "full_path": request.full_path,
        "query": request.query_string.decode(),
        "args": request.args.to_dict(flat=False),
        "list": request.args.getlist("a"),
        "typed": request.args.get("n", 0, type=int),
        "custom": request.headers.get("x-custom"),
        "content_type": request.content_type,
        "mimetype": request.mimetype,
        "is_json": request.is_json,
        "data": request.get_data(as_text=True),
        "host": request.host,
        "url": request.url,
        "base_url": request.base_url,
        "cookies": dict(request.cookies),
        "environ": [request.environ["REQUEST_METHOD"], request.environ["QUERY_STRING"]],
    }


def form(request):
    files = {
        name: [file.filename, file.mimetype, file.read().decode()]
        for name, file in request.files.items()
    }
    return {
        "form": request.form.to_dict(flat=False),
        "files": files,
        "values": sorted(request.values.keys()),
        "data": request.data.decode(),
    }


def stream(request):
    def parts():
        for number in range(3):
            yield f"part {number};"

    return AMLResponse(parts(), 200, {"Content-Type": "text/plain"})


DOINGS = {
    "look": look,
    "form": form,
    "stream": stream,
    "json": lambda request: {"json": request.get_json(), "same": request.json},
    "silent": lambda request: {"json": request.get_json(silent=True)},
    "force": lambda request: {"json": request.get_json(force=True)},
    "plain": lambda request: [1, 2],
    "text": lambda request: AMLResponse("hello", 200),
    "bytes": lambda request: AMLResponse(b"\x00\xff", 201, {"Content-Type": "image/png"}),
    "as_json": lambda request: AMLResponse({"a": [1, "é"]}, 202, json_str=True),
    "nothing": lambda request: AMLResponse(None, 200),
    "repeated": lambda request: AMLResponse("x", 200, {"X-Many": "1, 2,3", "x-request-id": "m"}),
    "teapot": lambda request: AMLResponse({"message": "no"}, 418, json_str=True),
    "broken": lambda request: AMLResponse(json.dumps({"e": 1}), 503),
    "failed": lambda request: AMLResponse("bad", 400, run_function_failed=True),
    "cors": lambda request: AMLResponse("", 200, {"Access-Control-Allow-Origin": "*"}),
    "raise": lambda request: 1 / 0,
    "list": lambda request: AMLResponse(["a", b"b"], 200),
    "twice": lambda request: AMLResponse("x", 200, {"content-type": "text/csv"}),
}
