"""LitServe: `python litserve_server.py PORT`; batches where the workload allows it."""

import sys
from typing import Annotated

import calls
import litserve
from fastapi import Depends, Request


class Rows(litserve.LitAPI):
    """Batches requests of one row."""

    def setup(self, device):
        self.call = calls.load()

    def decode_request(self, request):
        return request["rows"]

    def batch(self, inputs):
        return [row for rows in inputs for row in rows]

    def predict(self, rows):
        return self.call(rows)

    def unbatch(self, output):
        return list(output)

    def encode_response(self, output):
        return {"result": output.tolist()}


class Raw:
    """The bytes of a request. LitServe formats what it is given for its log: this is short."""

    def __init__(self, body):
        self.body = body


async def read(request: Request):
    """Take a request's bytes as they are."""
    return Raw(await request.body())


class Tensor(litserve.LitAPI):
    """One tensor a request."""

    def setup(self, device):
        self.call = calls.load()

    def decode_request(self, request: Annotated[Raw, Depends(read)]):
        return request.body

    def predict(self, body):
        return self.call(body)

    def encode_response(self, output):
        return {"result": float(output)}


def main(port):
    """Serve until killed."""
    if calls.WORKLOAD == "W4":
        api = Tensor()
    elif calls.WORKLOAD == "W3":
        api = Rows()
    else:
        api = Rows(max_batch_size=64, batch_timeout=0.002)
    server = litserve.LitServer(
        api, accelerator="cpu", devices=1, workers_per_device=2, fast_queue=True, timeout=120
    )
    server.run(
        host="127.0.0.1",
        port=port,
        num_api_servers=2,
        log_level="warning",
        generate_client_file=False,
    )


if __name__ == "__main__":
    main(int(sys.argv[1]))
