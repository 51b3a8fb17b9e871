"""Traces, metrics and logs for OpenTelemetry, where settings ask for them.

Everything else in here needs those packages; `wanted` does not, so a replica that is not asked
imports nothing and pays nothing. A replica that is asked needs the packages in its image.
"""

from __future__ import annotations

from collections.abc import Mapping

SIGNALS = ("traces", "metrics", "logs")
AZURE = "APPLICATIONINSIGHTS_CONNECTION_STRING"
_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


def wanted(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The signals that the environment has a receiver for, by the standard settings."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return ()
    return tuple(signal for signal in SIGNALS if _is_wanted(signal.upper(), environment))


def _is_wanted(signal: str, environment: Mapping[str, str]) -> bool:
    if environment.get(f"OTEL_{signal}_EXPORTER", "").strip().lower() == "none":
        return False
    own = f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT"
    return any(environment.get(name) for name in (_ENDPOINT, own, AZURE))
