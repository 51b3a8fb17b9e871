from __future__ import annotations

import pytest

from modelyard.domain.validation import compose
from modelyard.errors import InvalidRequest
from modelyard.schemas import DeployService

GOOD = {"name": "digits", "image": "digits:1"}


def test_good_words() -> None:
    assert compose(DeployService, GOOD, "the service") == DeployService(**GOOD)


def test_every_slip_is_named() -> None:
    with pytest.raises(InvalidRequest) as caught:
        compose(DeployService, {"name": "Digits", "settings": {"replicas": -1}}, "the service")
    assert caught.value.message.startswith("the service is not valid: `name`: a service name is")
    assert "; `image`: it is missing; `settings.replicas`: " in caught.value.message
    assert caught.value.details == {"fields": ["name", "image", "settings.replicas"]}


def test_value_is_never_repeated() -> None:
    with pytest.raises(InvalidRequest) as caught:
        compose(DeployService, {**GOOD, "settings": {"environment": ["hunter2"]}}, "the service")
    assert "hunter2" not in str(caught.value.to_wire())
