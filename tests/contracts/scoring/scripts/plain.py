"""Undecorated: gets text, and does what the text says."""

import datetime
import json


def init():
    print("plain is ready")  # noqa: T201


def run(raw_data):
    asked = json.loads(raw_data) if raw_data.startswith("{") else {}
    what = asked.get("do")
    if what == "raise":
        raise ValueError("a secret of the script")
    return ANSWERS.get(what, lambda: {"got": raw_data, "type": type(raw_data).__name__})()


ANSWERS = {
    "string": lambda: json.dumps([1, 2]),
    "none": lambda: None,
    "number": lambda: 1.5,
    "list": lambda: [1, "é", None, True],
    "tuple": lambda: (1, (2, 3)),
    "keys": lambda: {1: "a", None: "b", 1.5: "d", False: "e"},
    "unicode": lambda: "grüße \u2028 😀",
    "large": lambda: {"n": 2**80},
    "lone": lambda: "\ud800",
    "nan": lambda: [float("nan"), float("inf"), 1.0],
    "set": lambda: {1, 2},
    "bytes": lambda: b"raw",
    "date": lambda: datetime.date(2019, 1, 2),
    "empty": lambda: "",
}
