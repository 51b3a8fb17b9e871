"""HAProxy and Envoy, with the same work to do as our gateway, and one thread.

They check a key and take it off, take a prefix off the path and tell it, give the request an id,
choose the replica with the fewest in flight, let none have more than its limit, and let the rest
wait.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.gateway.debian import program
from bench.gateway.fronts import KEY, LIMIT, Front
from bench.runtime.environments import environment

_KEY = f"""
    acl right req.hdr(authorization) -m str "Bearer {KEY.text}"
    http-request deny deny_status 401 unless right
"""
_HAPROXY = """
global
    nbthread 1
    maxconn 8192
defaults
    mode http
    timeout connect 5s
    timeout client 75s
    timeout server 60s
    timeout queue 10s
    timeout http-request 10s
    option http-buffer-request
frontend front
    bind 127.0.0.1:{port}
    unique-id-format %[uuid()]
    {key}
    http-request deny deny_status 404 unless {{ path_beg /services/digits/ }}
    http-request del-header authorization
    http-request set-header x-request-id %[unique-id]
    http-request set-header x-forwarded-prefix /services/digits
    http-request replace-path /services/digits(/.*) \\1
    http-response set-header x-request-id %[unique-id]
    default_backend replicas
backend replicas
    balance {balance}
    http-reuse always
    option http-keep-alive
{servers}
"""


def haproxy(balance: str = "leastconn", *, keyed: bool = True) -> Front:
    """HAProxy with one of its ways to choose a replica, for those with the key or for all."""

    def command(folder: Path, port: int, replicas: Sequence[str]) -> list[str]:
        lines = [
            f"    server r{number} unix@{address} maxconn {LIMIT}"
            for number, address in enumerate(replicas)
        ]
        servers = "\n".join(lines)
        key = _KEY if keyed else ""
        settings = _HAPROXY.format(port=port, key=key, balance=balance, servers=servers)
        path = folder / "haproxy.cfg"
        path.write_text(settings)
        return [program("haproxy"), "-db", "-f", str(path)]

    return Front("HAProxy" if balance == "leastconn" else f"HAProxy, {balance}", command)


def _envoy(folder: Path, port: int, replicas: Sequence[str]) -> list[str]:
    binary = environment("envoy", Path(__file__).parent / "requirements") / "bin" / "envoy"
    path = folder / "envoy.json"
    path.write_text(json.dumps(_envoy_settings(port, replicas)))
    command = [str(binary), "-c", str(path), "--concurrency", "1"]
    return [*command, "--disable-hot-restart", "--log-level", "error"]


def _envoy_settings(port: int, replicas: Sequence[str]) -> dict[str, Any]:
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": _http()}]
    listener = {"name": "front", "address": address, "filter_chains": [{"filters": filters}]}
    endpoints = [{"endpoint": {"address": {"pipe": {"path": path}}}} for path in replicas]
    limit = {"priority": "DEFAULT", "max_connections": LIMIT * len(replicas)}
    cluster = {
        "name": "replicas",
        "type": "STATIC",
        "connect_timeout": "5s",
        "lb_policy": "LEAST_REQUEST",
        "circuit_breakers": {
            "thresholds": [{**limit, "max_pending_requests": 1000}],
            "per_host_thresholds": [{"max_connections": LIMIT}],
        },
        "load_assignment": {
            "cluster_name": "replicas",
            "endpoints": [{"lb_endpoints": endpoints}],
        },
    }
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def _http() -> dict[str, Any]:
    right = {"exact": f"Bearer {KEY.text}"}
    permitted = {"header": {"name": "authorization", "string_match": right}}
    policy = {"permissions": [{"any": True}], "principals": [permitted]}
    route = {
        "match": {"prefix": "/services/digits/"},
        "route": {"cluster": "replicas", "prefix_rewrite": "/", "timeout": "60s"},
        "request_headers_to_remove": ["authorization"],
        "request_headers_to_add": [
            {"header": {"key": "x-forwarded-prefix", "value": "/services/digits"}}
        ],
    }
    kinds = "type.googleapis.com/envoy.extensions.filters"
    return {
        "@type": f"{kinds}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "front",
        "generate_request_id": True,
        "always_set_request_id_in_response": True,
        "request_headers_timeout": "10s",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [
            {
                "name": "envoy.filters.http.rbac",
                "typed_config": {
                    "@type": f"{kinds}.http.rbac.v3.RBAC",
                    "rules": {"action": "ALLOW", "policies": {"key": policy}},
                },
            },
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{kinds}.http.router.v3.Router"},
            },
        ],
    }


HAPROXY = haproxy()
ENVOY = Front("Envoy", _envoy)
