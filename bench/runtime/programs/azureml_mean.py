"""W4 in the original's script style: the raw body through `@rawhttp`."""

import calls
from azureml_inference_server_http.api.aml_request import rawhttp


def init():
    """Load the model."""
    global call
    call = calls.load()


@rawhttp
def run(request):
    """Score a tensor."""
    return float(call(request.get_data()))
