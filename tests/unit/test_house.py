"""Rules of the house that no tool checks."""

from __future__ import annotations

from modelyard.domain.cause import CauseCode
from modelyard_runtime import causes


def test_causes_of_the_runtime_are_causes_of_the_platform() -> None:
    recorded = {
        value for name, value in vars(causes).items() if name.isupper() and isinstance(value, str)
    }
    assert recorded
    assert recorded <= {code.value for code in CauseCode}
