"""OCI layouts to stand images on: small ones with no more than a Python that looks like one."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

MACHINES = {"amd64": 62, "arm64": 183}


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def program(architecture: str = "amd64") -> bytes:
    """The beginning of a program for this machine."""
    return b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\0" + bytes([MACHINES[architecture], 0]) * 4


def tar(files: Mapping[str, bytes | str | None], kind: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar: text is the target of a symlink, None a folder."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=kind) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            if content is None:
                member.type = tarfile.DIRTYPE
            elif isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
            else:
                member.size = len(content)
            archive.addfile(member, io.BytesIO(content) if isinstance(content, bytes) else None)
    return out.getvalue()


def python_files(version: str = "3.11", architecture: str = "amd64") -> dict[str, Any]:
    """A root file system with a Python, as the usual images have it."""
    return {
        "usr/": None,
        "usr/local/bin/": None,
        f"usr/local/bin/python{version}": program(architecture),
        "usr/local/bin/python3": f"python{version}",
        f"usr/local/lib/python{version}/os.py": b"",
        "lib": "usr/lib",
        "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2": b"",
    }


class Layout:
    """An OCI layout in the making; what is wrong with it is put in by whoever wants it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "blobs" / "sha256").mkdir(parents=True)
        (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        self.manifests: list[dict[str, Any]] = []

    def put(self, content: bytes, media_type: str = "") -> dict[str, Any]:
        """Store a blob; its descriptor."""
        digest = digest_of(content)
        (self.folder / "blobs" / "sha256" / digest.removeprefix("sha256:")).write_bytes(content)
        return {"mediaType": media_type, "digest": digest, "size": len(content)}

    def add(
        self,
        layers: Iterable[bytes],
        architecture: str = "amd64",
        *,
        compress: bool = True,
        env: Iterable[str] = ("PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8"),
        platform: bool = True,
        blobs: Iterable[bytes] = (),
        **configuration: Any,
    ) -> str:
        """Add an image with these layers, and write the index; the digest of its manifest."""
        tars = list(layers)
        kind = "application/vnd.oci.image.layer.v1.tar" + ("+gzip" if compress else "")
        document = {
            "os": "linux",
            "architecture": architecture,
            "config": {"Env": list(env)},
            "rootfs": {"type": "layers", "diff_ids": [digest_of(layer) for layer in tars]},
            **configuration,
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": self.put(
                json.dumps(document).encode(), "application/vnd.oci.image.config.v1+json"
            ),
            "layers": [
                self.put(blob, kind)
                for blob in blobs
                or [gzip.compress(layer, mtime=0) if compress else layer for layer in tars]
            ],
        }
        descriptor = self.put(json.dumps(manifest).encode(), manifest["mediaType"])
        stated = {"platform": {"os": "linux", "architecture": architecture}} if platform else {}
        self.manifests.append(descriptor | stated)
        self.write_index()
        return str(descriptor["digest"])

    def write_index(self) -> None:
        """Write the document that everything begins with."""
        index = {"schemaVersion": 2, "manifests": self.manifests}
        (self.folder / "index.json").write_text(json.dumps(index))

    def as_tar(self, path: Path) -> Path:
        """The same as one tar."""
        with tarfile.open(path, "w") as archive:
            archive.add(self.folder, ".")
        return path
