"""MLflow's tracing over PostgreSQL, which its documentation advises for production.

Traces are written in the background, which is the default and advised too. Its server in the middle
is left out: on two cores, its processes write more slowly than is asked here.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench._race import running, wait_for
from bench.runtime.environments import Unavailable

_NOBODY = 65534
"""PostgreSQL does not run as root."""
_LIMIT = 300.0


def traced(program: Path, variables: dict[str, str]) -> Counter[int]:
    """The numbers that MLflow's own client tells."""
    command = ["python", str(program)]
    done = subprocess.run(
        command, env=variables, check=True, capture_output=True, timeout=_LIMIT, cwd="/"
    )
    return Counter(json.loads(done.stdout))


@contextmanager
def database(folder: Path) -> Iterator[str]:
    """A PostgreSQL in a folder that is not there yet; its URI for MLflow.

    Raises:
        Unavailable: PostgreSQL is not installed.
    """
    programs = _postgresql()
    folder.mkdir()
    prefix = ["env", f"--chdir={folder}"]
    if os.geteuid() == 0:
        os.chown(folder, _NOBODY, _NOBODY)
        folder.parent.chmod(0o711)
        prefix += ["setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups"]
    data = folder / "data"
    options = ["--username=mlflow", "--auth=trust", "--no-locale", "--encoding=UTF8"]
    prepare = [*prefix, str(programs / "initdb"), *options, f"--pgdata={data}"]
    subprocess.run(prepare, check=True, capture_output=True, timeout=_LIMIT)
    serve = [str(programs / "postgres"), "-D", str(data), "-k", str(folder), "-h", ""]
    with running([*prefix, *serve]):
        wait_for(str(folder / ".s.PGSQL.5432"))
        yield f"postgresql+psycopg2://mlflow@/postgres?host={folder}"


def _postgresql() -> Path:
    """The folder of its programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    known = shutil.which("postgres") or next(map(str, reversed(found)), None)
    if known is None:
        raise Unavailable("PostgreSQL is not installed")
    return Path(known).parent
