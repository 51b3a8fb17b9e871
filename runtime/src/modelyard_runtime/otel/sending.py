"""One worker's telemetry: what it sends, from when to when."""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import Any

from opentelemetry import trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.propagate import get_global_textmap  # noqa: F401 - reads OTEL_PROPAGATORS now
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

import modelyard_runtime
from modelyard_runtime import speaking
from modelyard_runtime.otel.calls import Tracing
from modelyard_runtime.otel.exporters import exporter
from modelyard_runtime.otel.figures import metrics_data
from modelyard_runtime.slots import Slots
from modelyard_runtime.speaking import Speaker

_log = logging.getLogger(__name__)

_NAME = "modelyard_runtime"
_INTERVAL = "OTEL_METRIC_EXPORT_INTERVAL"
_USUAL_INTERVAL = 60_000.0  # ms, as the specification has it
_FLUSH = 5_000  # ms that the last of everything gets at the end
_OWN_THREADS = "Otel"


class Telemetry:
    """Sends the signals that are wanted, until it is closed. Made after the fork: it has threads.

    Args:
        signals: Which of `SIGNALS`.
        service: Name of the service, unless `OTEL_SERVICE_NAME` says another.
        slots: The figures of the replica.
        worker: This worker's number; the first one sends the figures of all.

    Raises:
        ImportError: A package is not there.
    """

    def __init__(self, signals: tuple[str, ...], service: str, slots: Slots, worker: int) -> None:
        name = os.environ.get("OTEL_SERVICE_NAME") or service
        attributes = {
            "service.name": name,
            "service.instance.id": f"{os.uname().nodename}-{worker}",
        }
        self._resource = Resource.create(attributes)
        self._closing = threading.Event()
        self._closers: list[Any] = []
        self.tracing = self._traces() if "traces" in signals else None
        if "logs" in signals:
            self._logs()
        if "metrics" in signals and worker == 0:
            self._metrics(slots)

    def close(self) -> None:
        """Send what is left, within seconds."""
        speaking.listen(None)
        self._closing.set()
        for closer in self._closers:
            closer()

    def _traces(self) -> Tracing:
        provider = TracerProvider(resource=self._resource, shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(exporter("traces")))
        trace.set_tracer_provider(provider)
        self._closers.append(lambda: provider.force_flush(_FLUSH))
        return Tracing(provider.get_tracer(_NAME, modelyard_runtime.__version__))

    def _logs(self) -> None:
        provider = LoggerProvider(resource=self._resource, shutdown_on_exit=False)
        provider.add_log_record_processor(BatchLogRecordProcessor(exporter("logs")))
        logger = provider.get_logger(_NAME, modelyard_runtime.__version__)

        def tell(stream: str, speaker: Speaker | None, line: str) -> None:
            if threading.current_thread().name.startswith(_OWN_THREADS):
                return  # what goes wrong with sending must not be sent
            attributes = {"log.iostream": stream}
            if speaker is not None:
                attributes["modelyard.request_id"] = speaker.request_id
            info = SeverityNumber.INFO if stream == "stdout" else SeverityNumber.WARN
            logger.emit(
                LogRecord(
                    timestamp=time.time_ns(),
                    severity_number=info,
                    body=line,
                    attributes=attributes,
                )
            )

        speaking.listen(tell)
        self._closers.append(lambda: provider.force_flush(_FLUSH))

    def _metrics(self, slots: Slots) -> None:
        sender, began = exporter("metrics"), time.time_ns()
        scope = InstrumentationScope(_NAME, modelyard_runtime.__version__)

        def send() -> None:
            try:
                sender.export(metrics_data(slots.total(), self._resource, scope, began))
            except Exception:
                _log.exception("figures could not be sent")

        def repeat() -> None:
            interval = float(os.environ.get(_INTERVAL) or _USUAL_INTERVAL) / 1000
            while not self._closing.wait(interval):
                send()

        thread = threading.Thread(target=repeat, name=f"{_OWN_THREADS}Figures", daemon=True)
        thread.start()
        self._closers.append(send)
