"""Extras of the runtime in the requirements of an image."""

from __future__ import annotations

import pytest

from modelyard.errors import BuildFailed
from modelyard.images.environment import with_extras


def test_an_extra_stands_for_what_it_needs() -> None:
    lines = ["numpy==2", "Modelyard.Runtime[grpc]>=0.1", "pandas"]
    assert list(with_extras(lines)) == ["numpy==2", "grpcio>=1.60", "protobuf>=4.22", "pandas"]


def test_the_runtime_alone_is_there_already() -> None:
    assert list(with_extras(["modelyard-runtime", "numpy"])) == ["numpy"]


def test_another_extra_is_refused() -> None:
    with pytest.raises(BuildFailed) as caught:
        list(with_extras(["modelyard-runtime[made-up]"]))
    assert "no extra `made-up`" in caught.value.message
    assert "grpc" in (caught.value.hint or "")
