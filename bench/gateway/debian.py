"""Programs of Debian packages that the bench needs: used where they are, installed where it may."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache

from bench.runtime.environments import Unavailable


@cache
def program(name: str, package: str = "") -> str:
    """The path of a program, whose package root gets installed.

    Args:
        name: Of the program.
        package: Of its package, if that has another name.

    Raises:
        Unavailable: It is not there, and cannot be installed.
    """
    package = package or name
    found = shutil.which(name)
    if found is None and shutil.which("apt-get") and os.geteuid() == 0:
        _apt("update", "-qq")
        _apt("install", "-y", "-qq", "--no-install-recommends", package)
        found = shutil.which(name)
    if found is None:
        raise Unavailable(f"is not installed; as root: apt-get install {package}")
    return found


def _apt(*arguments: str) -> None:
    variables = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", *arguments], env=variables, check=False, capture_output=True)
