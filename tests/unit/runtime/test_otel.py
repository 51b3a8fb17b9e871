"""When OpenTelemetry is wanted, whom it is sent to, and how figures look in it."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

import pytest
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from tests.unit.runtime.conftest import Configure

from modelyard_runtime import extras
from modelyard_runtime.families import SECONDS
from modelyard_runtime.metrics import Metrics
from modelyard_runtime.otel import AZURE, SIGNALS, wanted
from modelyard_runtime.otel.exporters import exporter
from modelyard_runtime.otel.figures import metrics_data
from modelyard_runtime.slots import Slots

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


@pytest.mark.parametrize(
    ("environment", "signals"),
    [
        ({}, ()),
        ({ENDPOINT: ""}, ()),
        ({ENDPOINT: "http://c:4318"}, SIGNALS),
        ({ENDPOINT: "http://c:4318", "OTEL_SDK_DISABLED": "TRUE"}, ()),
        ({ENDPOINT: "http://c:4318", "OTEL_LOGS_EXPORTER": "none"}, ("traces", "metrics")),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://c:4318/v1/metrics"}, ("metrics",)),
        ({AZURE: "InstrumentationKey=1"}, SIGNALS),
    ],
)
def test_signals_are_sent_where_there_is_a_receiver(
    environment: dict[str, str], signals: tuple[str, ...]
) -> None:
    assert wanted(environment) == signals


def test_exporters_are_those_of_otlp_over_http(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENDPOINT, "http://c:4318")
    assert isinstance(exporter("metrics"), OTLPMetricExporter)


@pytest.mark.parametrize("signal", SIGNALS)
def test_one_setting_sends_to_azure_monitor(signal: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = ModuleType("azure.monitor.opentelemetry.exporter")
    names = ("Trace", "Metric", "Log")
    for name in names:
        setattr(made, f"AzureMonitor{name}Exporter", lambda name=name: name)
    monkeypatch.setitem(sys.modules, made.__name__, made)
    monkeypatch.setenv(AZURE, "InstrumentationKey=1")
    assert exporter(signal) == names[SIGNALS.index(signal)]


def test_another_transport_needs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    with pytest.raises(ImportError, match="grpc"):
        exporter("traces")


def test_an_image_without_the_packages_says_so_and_scores(
    configure: Configure, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(name: str) -> ModuleType:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setenv(ENDPOINT, "http://c:4318")
    monkeypatch.setattr(importlib, "import_module", missing)
    assert extras.load_otel(configure(), Slots(1), 0) is None
    assert "add modelyard-runtime[otel]" in capsys.readouterr().err


def test_figures_are_sums_and_histograms_with_units() -> None:
    slots = Slots(1)
    metrics = Metrics(slots, 0)
    for seconds in (0.02, 0.02, 70.0):
        metrics.answered("score", 200, seconds)
    metrics.gauges = lambda: (3, 1)
    metrics.publish()
    scope = InstrumentationScope("test", "1")
    (resource,) = metrics_data(slots.total(), Resource.create(), scope, 5).resource_metrics
    found = {metric.name: metric for metric in resource.scope_metrics[0].metrics}
    (requests,) = found["modelyard_requests"].data.data_points
    assert requests.attributes == {"protocol": "score", "status": "200"}
    assert (requests.value, requests.start_time_unix_nano) == (3, 5)
    times = found["modelyard_request_duration_seconds"]
    (point,) = times.data.data_points
    assert times.unit == "s"
    assert tuple(point.explicit_bounds) == SECONDS
    assert (point.count, sum(point.bucket_counts), point.bucket_counts[-1]) == (3, 3, 1)
    assert point.sum == pytest.approx(70.04)
    assert (point.min, point.max) == (0.01, 60)
    (in_flight,) = found["modelyard_requests_in_flight"].data.data_points
    assert in_flight.value == 3
    assert "modelyard_requests_refused" not in found
