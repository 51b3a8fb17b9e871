from __future__ import annotations

from typing import Any

import pytest

from modelyard.domain.rollout import Canary
from modelyard.domain.service import ServiceSettings
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


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"memory": "60MiB"}, "`memory`: it has to be at least 64.0 MiB"),
        ({"idle_time": "8d"}, "`idle_time`: it has to be at most 7d"),
        ({"scoring_timeout": "0s"}, "`scoring_timeout`: it has to be more than 0s"),
        ({"alerts": "drift"}, '`alerts`: it has to be a list, as `["one", "another"]`'),
        ({"replicas": 257}, "`replicas`: it has to be at most 256"),
        ({"cors_origins": ["app.example"]}, "`cors_origins.0`: an origin is scheme, host and port"),
    ],
)
def test_bounds_are_told_as_people_write_them(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        compose(ServiceSettings, fields, "the service")
    assert sentence in caught.value.message


def test_an_empty_list_is_told_how_many_there_have_to_be() -> None:
    with pytest.raises(InvalidRequest, match=r"`steps`: it has to have at least 1$"):
        compose(Canary, {"steps": []}, "the canary")


def test_bounds_are_told_of_what_is_inside() -> None:
    with pytest.raises(InvalidRequest, match=r"`settings.memory`: it has to be at least 64.0 MiB"):
        compose(DeployService, {**GOOD, "settings": {"memory": "1MiB"}}, "the service")
