"""The Open Inference Protocol v2 over gRPC, on a port of its own beside HTTP.

A call becomes a request to a protocol like any other, and goes through the same lane. The module is
imported only by a replica that is told to serve gRPC, before its workers are forked; the server
itself must be made in the worker, because its threads would not survive a fork.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from typing import Any, cast

import grpc
import grpc.aio

from modelyard_runtime import __version__
from modelyard_runtime.auth import Guard
from modelyard_runtime.config import Config
from modelyard_runtime.entry import Entry
from modelyard_runtime.grpc_certificate import credentials
from modelyard_runtime.http.encoding import written_fields
from modelyard_runtime.http.messages import Head
from modelyard_runtime.http.server import Headers, HttpError, Reply, Request, Response
from modelyard_runtime.lanes.base import Lane
from modelyard_runtime.protocols.base import Unready
from modelyard_runtime.protocols.grpc_messages import PACKAGE, message_class
from modelyard_runtime.protocols.infer import Inference, ServedModel
from modelyard_runtime.protocols.infer_grpc import read_message, read_model, write_message
from modelyard_runtime.protocols.inference import (
    EXTENSIONS,
    SERVER_NAME,
    InferenceProtocol,
)
from modelyard_runtime.scoring import Call, Scorer, asking
from modelyard_runtime.signature import Signature
from modelyard_runtime.tensors import TensorSpec

Submit = Callable[[Request], Reply | Response]
"""Has a request of this protocol answered."""
Allows = Callable[[list[bytes]], bool]
"""Whether these `authorization` fields are those of a caller with a key."""
Method = Callable[[bytes, Any], Awaitable[bytes]]

_SERVICE = f"{PACKAGE}.GRPCInferenceService"
_OPEN = frozenset({f"/{_SERVICE}/ServerLive", f"/{_SERVICE}/ServerReady"})
_PATH = f"/{_SERVICE}/ModelInfer"
_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    422: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    431: grpc.StatusCode.INVALID_ARGUMENT,
    500: grpc.StatusCode.INTERNAL,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
_MESSAGE = (b"content-type", b"application/grpc")
_NO_KEY = "A valid key is needed: send it as the metadata `authorization: Bearer <key>`."
_SPARE = 64
"""Calls at once beyond those that the lane takes, so that health is answered while that is full."""
_UNEXPECTED = "An unexpected error occurred. The log has the details."

_log = logging.getLogger("modelyard.grpc")


class GrpcInference(InferenceProtocol):
    """Bodies are messages; a refusal's body is its text, for the status of the call."""

    name = "grpc"

    def __init__(self, signature: Signature, model: ServedModel) -> None:
        super().__init__(signature, {})
        self._served = model

    def read(self, request: Request) -> Inference:
        """The request in a message. Raises `HttpError`."""
        return read_message(request.body, self._served)

    def write(self, inference: Inference, result: Any) -> Response:
        """The answer of a result. Raises `HttpError` when something else is asked for."""
        results = self._signature.to_tensors(result)
        about = self._served.answering(inference.version)
        return Response(200, write_message(inference, results, about), [_MESSAGE])

    def error(self, status: int, message: str) -> Response:
        """The text of the call's status."""
        return Response(status, message.encode(), [_MESSAGE])


def serve(
    entry: Entry,
    config: Config,
    scorer: Scorer,
    lane: Lane,
    guard: Guard | None,
    unready: Unready,
) -> GrpcServer:
    """The server of a worker, not started yet. Its calls go through the lane, as those of HTTP."""
    model = ServedModel.of(entry, config)
    protocol = GrpcInference(entry.signature, model)
    allows = guard.allows if guard is not None else None

    def submit(request: Request) -> Reply | Response:
        return lane.submit(Call(scorer, request, asking(request.head, protocol)))

    return GrpcServer(config, model, submit, allows, unready)


class GrpcServer:
    """Answers gRPC in one worker, beside its HTTP server and with the same lane.

    Args:
        config: Its `grpc_fd` is a TCP socket bound with `SO_REUSEPORT` and not listening: it holds
            the address, on which every worker listens for itself. gRPC takes no inherited listener.
        model: What the protocol says of the model.
        submit: Has a request to `GrpcInference` answered.
        allows: Checks the caller's key; None where everybody may call.
        unready: Why the replica is not ready, or an empty string.
    """

    def __init__(
        self,
        config: Config,
        model: ServedModel,
        submit: Submit,
        allows: Allows | None,
        unready: Unready,
    ) -> None:
        assert config.grpc_fd is not None
        self._config = config
        self._model = model
        self._submit = submit
        self._unready = unready
        self._address = _address(config.grpc_fd)
        self._interceptors = [] if allows is None else [_Guard(allows)]

    async def start(self) -> None:
        """Listen.

        Raises:
            RuntimeError: The address cannot be listened on.
            OSError: A file of the certificate cannot be read.
        """
        self._server = grpc.aio.server(
            handlers=[grpc.method_handlers_generic_handler(_SERVICE, self._handlers())],
            interceptors=self._interceptors,
            options=_options(self._config),
            maximum_concurrent_rpcs=self._config.max_in_flight + _SPARE,
        )
        if self._config.tls is None:
            self._server.add_insecure_port(self._address)
        else:
            self._server.add_secure_port(self._address, credentials(self._config.tls))
        await self._server.start()

    async def drain(self, deadline_seconds: float) -> None:
        """Stop accepting, finish what is in flight, cut what is left at the deadline."""
        await self._server.stop(deadline_seconds)

    def _handlers(self) -> dict[str, Any]:
        methods: dict[str, Method] = {
            "ServerLive": self._server_live,
            "ServerReady": self._server_ready,
            "ModelReady": self._model_ready,
            "ServerMetadata": self._server_metadata,
            "ModelMetadata": self._model_metadata,
            "ModelInfer": self._infer,
        }
        return {
            name: grpc.unary_unary_rpc_method_handler(_guarded(method))
            for name, method in methods.items()
        }

    async def _server_live(self, body: bytes, context: Any) -> bytes:
        return _message("ServerLiveResponse", live=True)

    async def _server_ready(self, body: bytes, context: Any) -> bytes:
        return _message("ServerReadyResponse", ready=not self._unready())

    async def _model_ready(self, body: bytes, context: Any) -> bytes:
        self._expect_model(body)
        return _message("ModelReadyResponse", ready=not self._unready())

    async def _server_metadata(self, body: bytes, context: Any) -> bytes:
        return _message(
            "ServerMetadataResponse", name=SERVER_NAME, version=__version__, extensions=EXTENSIONS
        )

    async def _model_metadata(self, body: bytes, context: Any) -> bytes:
        self._expect_model(body)
        model = self._model
        return _message(
            "ModelMetadataResponse",
            name=model.name,
            versions=model.versions,
            platform=model.platform,
            inputs=[_describe(spec) for spec in model.inputs],
            outputs=[_describe(spec) for spec in model.outputs],
        )

    async def _infer(self, body: bytes, context: Any) -> bytes:
        head = Head("POST", _PATH, "", Headers(_fields(context.invocation_metadata())))
        answer = self._submit(Request.of(head, body))
        response = await _settle(answer) if isinstance(answer, Reply) else answer
        assert isinstance(response.body, bytes)
        metadata = tuple(
            (name.decode(), value.decode("latin-1"))
            for name, value in (*response.headers, *written_fields(response.encoded))
            if name != b"content-type"
        )
        if response.status != 200:
            code = _CODES.get(response.status, grpc.StatusCode.UNKNOWN)
            await context.abort(code, response.body.decode(), metadata)
        context.set_trailing_metadata(metadata)
        return response.body

    def _expect_model(self, body: bytes) -> None:
        self._model.expect(*read_model(body))


class _Guard(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Turns away who has no key, before a message is read."""

    def __init__(self, allows: Allows) -> None:
        self._allows = allows

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        """The handler of a call, or one that refuses it."""
        authorizations = [
            value
            for name, value in _fields(details.invocation_metadata)
            if name == b"authorization"
        ]
        if details.method in _OPEN or self._allows(authorizations):
            return await continuation(details)
        return _REFUSAL


class _Waiting:
    """Receives the answer of a lane for the coroutine of a call."""

    def __init__(self) -> None:
        self.response: asyncio.Future[Response] = asyncio.get_running_loop().create_future()

    def replied(self, response: Response) -> None:
        """The answer is there."""
        if not self.response.done():
            self.response.set_result(response)


async def _settle(reply: Reply) -> Response:
    waiting = _Waiting()
    early = reply.promise_to(waiting)
    if early is not None:
        return early
    try:
        return await waiting.response
    except asyncio.CancelledError:  # the client has gone, or its deadline is over
        reply.forsake()
        raise


def _guarded(method: Method) -> Method:
    """A method whose unexpected errors are for the log, not for the caller."""

    async def answer(body: bytes, context: Any) -> bytes:
        try:
            return await method(body, context)
        except HttpError as error:
            code, text = _CODES[error.status], error.message
        except grpc.aio.AbortError:
            raise
        except Exception as error:
            _log.error("a gRPC call failed", exc_info=error)
            code, text = grpc.StatusCode.INTERNAL, _UNEXPECTED
        await context.abort(code, text)
        raise AssertionError

    return answer


async def _refuse(messages: Any, context: Any) -> None:
    await context.abort(grpc.StatusCode.UNAUTHENTICATED, _NO_KEY)


_REFUSAL = grpc.stream_unary_rpc_method_handler(_refuse)  # a stream, so that none of it is read


def _options(config: Config) -> list[tuple[str, int]]:
    limits = config.http_limits(strangers=True)
    return [
        ("grpc.so_reuseport", 1),
        ("grpc.max_receive_message_length", config.max_body),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_metadata_size", limits.header_bytes),
        ("grpc.max_concurrent_streams", config.max_in_flight + _SPARE),
        ("grpc.server_handshake_timeout_ms", int(limits.header_time * 1000)),
        ("grpc.max_connection_idle_ms", int(limits.idle_time * 1000)),
    ]


def _address(fd: int) -> str:
    holder = socket.socket(fileno=os.dup(fd))
    with holder:
        host, port = holder.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _fields(metadata: Any) -> list[tuple[bytes, bytes]]:
    return [
        (name.encode(), value if isinstance(value, bytes) else value.encode())
        for name, value in metadata or ()
    ]


def _message(kind: str, **values: Any) -> bytes:
    return cast(bytes, message_class(kind)(**values).SerializeToString())


def _describe(spec: TensorSpec) -> Any:
    return message_class("TensorMetadata")(name=spec.name, datatype=spec.datatype, shape=spec.shape)
