"""Things to build images from: packages, uploaded files, models."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from modelyard.blobs.base import BlobStore
from modelyard.domain.model import Model, ModelFile, ModelFormat
from modelyard.images.signing import SigningKey, TrustedKeys
from modelyard.schemas import BuildImage, FileReference

WHEELHOUSE = Path(__file__).parents[3] / ".wheelhouse"
RUNTIME_NEEDS = ("httptools", "msgspec", "orjson", "uvloop")


def trusted_key(home: Path) -> SigningKey:
    """A key that is trusted in this home folder."""
    key = SigningKey.generate()
    TrustedKeys(home / "trusted").add(key.public)
    return key


def small_wheelhouse(folder: Path) -> Path:
    """A folder with what the runtime needs and nothing else, to add packages to."""
    folder.mkdir()
    for wheel in WHEELHOUSE.glob("*.whl"):
        if wheel.name.startswith(RUNTIME_NEEDS):
            (folder / wheel.name).symlink_to(wheel)
    return folder


def write_wheel(
    folder: Path,
    name: str,
    *,
    tag: str = "py3-none-any",
    needs: Iterable[str] = (),
    files: Mapping[str, str] | None = None,
    scripts: str = "",
    version: str = "1.0",
) -> None:
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += "".join(f"Requires-Dist: {line}\n" for line in needs)
    members = {
        **(files if files is not None else {f"{name}/__init__.py": "VALUE = {'a', 'b'}\n"}),
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    if scripts:
        members[f"{info}/entry_points.txt"] = f"[console_scripts]\n{scripts}\n"
    record = "".join(f"{path},,\n" for path in [*members, f"{info}/RECORD"])
    with zipfile.ZipFile(folder / f"{name}-{version}-{tag}.whl", "w") as archive:
        for path, text in {**members, f"{info}/RECORD": record}.items():
            archive.writestr(path, text)


def write_sdist(folder: Path, name: str) -> None:
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode()
    with tarfile.open(folder / f"{name}-1.0.tar.gz", "w:gz") as archive:
        member = tarfile.TarInfo(f"{name}-1.0/PKG-INFO")
        member.size = len(metadata)
        archive.addfile(member, io.BytesIO(metadata))


BACKEND = """
import os, zipfile
NAME, NEEDS = {name!r}, {needs!r}
def build_wheel(folder, config_settings=None, metadata_directory=None):
    info, wheel = f"{{NAME}}-1.0.dist-info", f"{{NAME}}-1.0-py3-none-any.whl"
    lines = ["Metadata-Version: 2.1", f"Name: {{NAME}}", "Version: 1.0"]
    lines += [f"Requires-Dist: {{need}}" for need in NEEDS]
    files = {{
        f"{{NAME}}.py": "BUILT = True\\n",
        f"{{info}}/METADATA": "\\n".join(lines) + "\\n",
        f"{{info}}/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    }}
    files[f"{{info}}/RECORD"] = "".join(f"{{name}},,\\n" for name in [*files, f"{{info}}/RECORD"])
    with zipfile.ZipFile(os.path.join(folder, wheel), "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return wheel
"""


def write_source(folder: Path, name: str, needs: Iterable[str] = ()) -> None:
    """A package that exists only as its sources, and can be built from them with nothing else."""
    files = {
        "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        "pyproject.toml": "[build-system]\nrequires = []\n"
        'build-backend = "backend"\nbackend-path = ["."]\n',
        "backend.py": BACKEND.format(name=name, needs=list(needs)),
    }
    with tarfile.open(folder / f"{name}-1.0.tar.gz", "w:gz") as archive:
        for path, text in files.items():
            member = tarfile.TarInfo(f"{name}-1.0/{path}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))


def put(blobs: BlobStore, content: bytes | str) -> str:
    with blobs.writer() as writer:
        writer.write(content.encode() if isinstance(content, str) else content)
        return writer.commit().digest


def make_model(blobs: BlobStore, name: str = "iris", version: int = 1, **files: bytes) -> Model:
    return Model(
        id=uuid4(),
        workspace="default",
        name=name,
        version=version,
        format=ModelFormat.CUSTOM,
        files=tuple(
            ModelFile(path=f"{path}.bin", digest=put(blobs, content), size=len(content))
            for path, content in files.items()
        ),
        created_at=datetime.now(UTC),
        created_by="owner",
    )


def make_request(
    blobs: BlobStore,
    script: str = "def run(data):\n    return data\n",
    requirements: Iterable[str] = (),
    **files: str,
) -> BuildImage:
    sources = {"score.py": script, **{f"{name}.py": text for name, text in files.items()}}
    return BuildImage(
        name="image",
        models=(),
        script="score.py",
        files=tuple(
            FileReference(path=path, digest=put(blobs, text)) for path, text in sources.items()
        ),
        requirements=tuple(requirements),
    )
