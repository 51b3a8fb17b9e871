"""What the programs of this folder are told. Those that tell them need no DuckDB for it.

Sealing and asking start often: little is imported here.
"""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

from modelyard.domain.captured import AnswerForm
from modelyard.domain.columns import Columns
from modelyard.domain.values import Digest, Value


class KnownDeployment(Value):
    """What is to be said of the records of one deployment."""

    service: UUID
    service_name: str
    image: str
    """`name:version`."""
    model: str
    """`name:version` of its first model."""
    columns: Columns = Columns()
    """What the image declares of the rows that it scores."""


class OpenSegment(Value):
    """One closed segment and whose it is."""

    path: Path
    source: str
    """Unique among all that write on this host: part of the file's name."""
    service: UUID
    service_name: str
    deployment: str = ""
    """Of all of its records; empty: each says it for itself."""
    replica: str = ""


class Job(Value):
    """What is to be sealed."""

    outbox: Path
    """Where the files go."""
    deployments: dict[str, KnownDeployment]
    segments: tuple[OpenSegment, ...]


class Question(Value):
    """SQL, and what it is about."""

    sql: str
    files: tuple[Path, ...]
    """Of records, as `sealing` writes them."""
    form: AnswerForm = AnswerForm.JSON
    most_rows: int | None = None
    """Rows of the answer; further ones are left out."""
    answer: Path
    """File to write."""
    seconds: int = 60
    """Processor time, after which it is ended."""
    decryption: str = ""
    """Key with which the SQL may decrypt, hexadecimal; empty: it may not."""


NO_FIELD = 3
"""Exit status of forgetting where no record has the field."""


class Forgetting(Value):
    """Which records are to go from which files."""

    files: tuple[Path, ...]
    folder: Path
    """Where the new files go, under the same names."""
    field: str
    """As in a rule of a service."""
    value: str | int | float | bool
    key: str
    """Of hashes, hexadecimal: a hashed value is the same."""
    decryption: str = ""
    """Key of encrypted values, hexadecimal; empty: they are not looked into."""


class Rewritten(Value):
    """A new file."""

    name: str
    """Of the segment."""
    size: int
    digest: Digest
    rows: int
    requests: int
    forgotten: int
    """Requests whose records went with this file; each counts in one."""


class Joining(Value):
    """Which files are to become fewer ones."""

    files: tuple[Path, ...]
    """Of one deployment's image and day, in the order of their records."""
    folder: Path
    """Where the new files go."""
    most: int
    """Bytes of the files that become one."""


class Joined(Value):
    """A new file with the records of others."""

    name: str
    """The same whenever the same files are joined."""
    parts: tuple[str, ...]
    """Names of those."""
    size: int
    digest: Digest
    rows: int
    requests: int
