"""What an agent tells of the services on its host."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from modelyard.domain.service import Service
from modelyard_runtime.families import SECONDS

MINUTES = "/api/v1/agents/local/minutes"
DEPLOYMENT = str(uuid4())


def told(service: Service, ok: int, failed: int = 0, took: float = 0.02, **gauges: float) -> Any:
    """One deployment that answered so many requests, each in the time given, and no other."""
    buckets = [0.0] * (len(SECONDS) + 1)
    buckets[next(n for n, bound in enumerate(SECONDS) if took <= bound)] = ok + failed
    figures: dict[str, Any] = {
        "modelyard_gateway_requests_total": {'status="200"': [ok], 'status="503"': [failed]},
        "modelyard_gateway_request_duration_seconds": {"": [*buckets, took * (ok + failed)]},
        "modelyard_cpu_seconds_total": {"": [ok / 10]},
    }
    figures |= {f"modelyard_{name}": {"": [value]} for name, value in gauges.items()}
    return {
        "service": str(service.id),
        "service_name": service.name,
        "deployment": DEPLOYMENT,
        "image": service.image,
        "figures": figures,
    }
