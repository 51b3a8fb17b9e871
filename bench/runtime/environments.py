"""One cached environment for each peer, made by uv from a pinned list in `requirements/`."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
INSTALL_LIMIT = 900
"""Seconds that one installation may take."""


class Unavailable(Exception):
    """A server cannot be installed or started; the message says why."""


def cache() -> Path:
    """The folder for environments, models and results."""
    usual = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "modelyard-bench"
    return Path(os.environ.get("BENCH_CACHE") or usual)


def environment(name: str, lists: Path = HERE / "requirements") -> Path:
    """The folder of the environment, made if there is none of the same requirements.

    Args:
        name: Of the environment, and of its list of requirements.
        lists: The folder of that list.

    Raises:
        Unavailable: It cannot be installed.
    """
    requirements = lists / f"{name}.txt"
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()
    folder = cache() / "environments" / name
    mark = folder / "installed"
    if not mark.exists() or mark.read_text() != digest:
        _install(folder, requirements)
        mark.write_text(digest)
    return folder


def python(name: str) -> str:
    """The interpreter of an environment."""
    return str(environment(name) / "bin" / "python")


def packages(name: str) -> Path:
    """The folder of an environment's installed packages."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return environment(name) / "lib" / version / "site-packages"


def _install(folder: Path, requirements: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    _uv("venv", "--quiet", "--clear", "--python", sys.executable, str(folder))
    target = str(folder / "bin" / "python")
    install = ("pip", "install", "--quiet", "--compile-bytecode", "--python", target)
    _uv(*install, "--requirements", str(requirements))


def _uv(*arguments: str) -> None:
    command = [sys.executable, "-m", "uv", *arguments]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_LIMIT)
    except subprocess.CalledProcessError as error:
        raise Unavailable(f"cannot be installed: {error.stderr.strip()[-300:]}") from error
    except subprocess.TimeoutExpired:
        raise Unavailable(f"cannot be installed in {INSTALL_LIMIT} s") from None
