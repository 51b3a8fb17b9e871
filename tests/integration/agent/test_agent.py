"""A real agent with its supervisors and gateway, a pretended server and a pretended runtime."""

from __future__ import annotations

from tests.integration.agent.host import Host


def test_deployed_service_answers_through_the_gateway(host: Host) -> None:
    host.start_agent()
    host.serve(host.deployment("a"))
    answer = host.score()
    assert (answer.status_code, answer.json()["deployment"]) == (200, "a")
