"""Programs of the machine that some tests need; `scripts/debian_packages.sh` installs them."""

from __future__ import annotations

import os
import shutil

import pytest


def program(name: str) -> str:
    """Path of a program. Without it a test is skipped, but fails where nothing may be skipped."""
    path = shutil.which(name)
    if path is None:
        message = f"needs `{name}`: run scripts/debian_packages.sh as root on Debian"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return path
