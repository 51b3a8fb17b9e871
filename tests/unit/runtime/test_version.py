from __future__ import annotations

from importlib.metadata import version

import modelyard_runtime


def test_the_version_is_that_of_the_distribution() -> None:
    assert modelyard_runtime.__version__ == version("modelyard-runtime")
