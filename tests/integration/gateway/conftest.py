from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.integration.gateway.kit import Stage


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with Stage() as stage:
        yield stage
