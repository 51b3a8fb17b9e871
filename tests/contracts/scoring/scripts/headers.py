"""Asks for the headers of the request."""


def init():
    pass


def run(data, request_headers):
    names = ("X-Custom", "Content-Type", "X-Twice")
    return {"data": data, "headers": {name: request_headers.get(name) for name in names}}
