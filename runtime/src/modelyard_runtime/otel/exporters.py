"""Whom signals are sent to: an OTLP receiver, or Azure Monitor where its setting is there."""

from __future__ import annotations

import importlib
import os
from typing import Any

from modelyard_runtime.otel import AZURE

_CLASSES = {
    "traces": ("trace_exporter", "OTLPSpanExporter", "AzureMonitorTraceExporter"),
    "metrics": ("metric_exporter", "OTLPMetricExporter", "AzureMonitorMetricExporter"),
    "logs": ("_log_exporter", "OTLPLogExporter", "AzureMonitorLogExporter"),
}


def exporter(signal: str) -> Any:
    """What sends a signal; addresses, headers and certificates it takes from the environment.

    Raises:
        ImportError: Its package is not there.
    """
    module, otlp, azure = _CLASSES[signal]
    if os.environ.get(AZURE):
        return getattr(importlib.import_module("azure.monitor.opentelemetry.exporter"), azure)()
    place = f"opentelemetry.exporter.otlp.proto.{_transport(signal)}.{module}"
    return getattr(importlib.import_module(place), otlp)()


def _transport(signal: str) -> str:
    own = os.environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL")
    chosen = own or os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL") or ""
    return "grpc" if chosen == "grpc" else "http"
