"""A registry without a network: a function from requests to answers; sleeps are counted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from modelyard.images.registry.client import Repository

Answer = Callable[[httpx2.Request], httpx2.Response]


class FakeNetwork:
    """What was sent and slept, and a repository that goes through it."""

    def __init__(self) -> None:
        self.requests: list[httpx2.Request] = []
        self.sleeps: list[float] = []

    def repository(self, answer: Answer, name: str = "registry.example/team/a:1") -> Repository:
        def record(request: httpx2.Request) -> httpx2.Response:
            request.read()
            self.requests.append(request)
            return streamed(answer(request))

        transport = httpx2.MockTransport(record)
        return Repository(name, transport=transport, sleep=self.sleeps.append)


def streamed(answer: httpx2.Response) -> httpx2.Response:
    """The answer as a network gives it: its body is yet to be read."""
    if not answer.is_stream_consumed:
        return answer
    return httpx2.Response(
        answer.status_code, headers=answer.headers, content=iter([answer.content])
    )


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeNetwork:
    """No credentials but those that a test writes into its home."""
    for name in ("DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return FakeNetwork()
