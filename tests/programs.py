"""Programs of the machine that some tests need; `scripts/debian_packages.sh` installs them."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest


def unavailable(reason: str) -> NoReturn:
    """Leave a test out, and say why; where nothing may be left out it fails."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def program(name: str) -> str:
    """Path of a program. A test that needs one which is not there is `unavailable`."""
    path = shutil.which(name)
    if path is None:
        unavailable(f"needs `{name}`: run scripts/debian_packages.sh as root on Debian")
    return path
