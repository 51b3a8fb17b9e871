"""What a `run` takes and gives: how the bytes of each protocol become arguments, and results bytes.

A loaded script or model has one signature. Protocols know signatures and never scripts, so every
protocol reaches every kind of script: `signatures`, `compat` and `frameworks` hold the kinds.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelyard_runtime.http.server import JSON, Request, Response
from modelyard_runtime.tensors import Tensor, TensorSpec

Arguments = dict[str, Any]
"""Values for the parameters of `run`, by name."""

JsonSchema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows as the MLflow protocol brings them; rows are as long as there are columns."""

    columns: tuple[str, ...] | None
    """None when the rows came without names."""
    rows: list[list[Any]]


class Signature(ABC):
    """How requests become arguments and results become answers.

    Every method may raise `HttpError` with a message for the caller: 400 for what cannot be read,
    415 for a content type that is not taken, 422 for what was read and does not fit, naming the
    field. Methods are called from the event loop and from scoring threads, at the same time.
    """

    inputs: tuple[TensorSpec, ...] = ()
    """For the metadata of the Open Inference Protocol; empty when nothing is known."""
    outputs: tuple[TensorSpec, ...] = ()
    methods: tuple[str, ...] = ()
    """What the parameter `method` may ask for; `outputs` are those of the first."""
    input_schema: JsonSchema
    """JSON Schema of the body of `/score`."""
    output_schema: JsonSchema
    versions: tuple[str, ...] = ("2.0", "3.0", "3.1")
    """Of Swagger and OpenAPI: those that can say what it takes and gives."""
    takes_options: bool = False
    """`OPTIONS /score` is for the script; else it is answered without."""

    @abstractmethod
    def from_request(self, request: Request) -> Arguments:
        """Arguments from a request to `/score`, of whatever method and content type."""

    @abstractmethod
    def from_tensors(self, tensors: Sequence[Tensor], parameters: Mapping[str, Any]) -> Arguments:
        """Arguments from named tensors and the parameters of the request."""

    @abstractmethod
    def from_table(self, table: Table, parameters: Mapping[str, Any]) -> Arguments:
        """Arguments from a table and the parameters of the request."""

    @abstractmethod
    def to_json(self, result: Any) -> bytes:
        """The result as JSON.

        Raises:
            TypeError: It holds what JSON cannot.
        """

    @abstractmethod
    def to_tensors(self, result: Any) -> list[Tensor]:
        """The result as named tensors.

        Raises:
            TypeError: It is nothing that tensors can hold.
        """

    def to_response(self, result: Any) -> Response:
        """The answer of `/score`."""
        return Response(200, self.to_json(result), [JSON])


class Batching(ABC):
    """How the arguments of several requests are scored in one call."""

    max_rows: int | None = None
    """Rows of one call; None: what the service is set to."""
    max_wait: float | None = None
    """Seconds that a request may wait for others; None: what the service is set to."""

    @abstractmethod
    def rows(self, arguments: Arguments) -> int:
        """How many rows one request brings; 0 when it must be scored alone."""

    @abstractmethod
    def join(self, calls: Sequence[Arguments]) -> Arguments:
        """One set of arguments for all. They have been found to fit together by `key`."""

    @abstractmethod
    def split(self, result: Any, rows: Sequence[int]) -> list[Any]:
        """The result of a joined call, taken apart by the number of rows of each request.

        Raises:
            ValueError: It has another number of rows than went in.
        """

    def key(self, arguments: Arguments) -> Any:
        """Requests with equal keys may be joined: same columns, same shape of a row, same method.

        The default is for signatures whose arguments always fit together.
        """
        return None

    def read(self, bodies: Sequence[bytes]) -> tuple[Arguments, list[int]] | None:
        """Arguments for several `POST` to `/score` at once, and how many rows each brings.

        They are what reading each and joining them would make, in a fraction of the time.

        Returns:
            None: they are to be read one by one.

        Raises:
            Exception: As None; what is wrong, and with which, is found when each is read.
        """
        return None

    def write(self, result: Any, rows: Sequence[int]) -> list[bytes] | None:
        """The JSON answers to them: what splitting the result and writing each would make.

        Returns:
            None: they are to be written one by one.

        Raises:
            Exception: As None.
        """
        return None
