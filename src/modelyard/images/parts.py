"""The layers that are written file by file: runtime, code and models.

Called by `builder`; the environment, which the package installer lays out, is `environment`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import modelyard_runtime
from modelyard.blobs.base import BlobStore
from modelyard.domain.image import Layer, LayerKind, ModelMount
from modelyard.domain.model import Model
from modelyard.domain.values import digest_of
from modelyard.images.bytecode import compile_sources
from modelyard.images.launch import CODE_ROOT, MODELS_ROOT, RUNTIME_ROOT, Interpreter
from modelyard.images.layers import (
    LayerCache,
    LayerFile,
    extract,
    file_from_blob,
    file_from_bytes,
    tar_chunks,
    write_layer,
    write_tree,
)
from modelyard.schemas import FileReference

_CACHED_BYTE_CODE = "__pycache__"


@cache
def runtime_sources() -> tuple[tuple[str, bytes], ...]:
    """Every file of the installed runtime with its content, as it was when first asked for."""
    package = Path(modelyard_runtime.__file__).parent
    wanted = [
        path for path in package.rglob("*") if path.suffix == ".py" or path.name == "py.typed"
    ]
    return tuple(
        (f"{package.name}/{path.relative_to(package).as_posix()}", path.read_bytes())
        for path in sorted(wanted)
    )


@cache
def runtime_digest() -> str:
    """`sha256:…` of the runtime's sources: changes when and only when the runtime does."""
    entries = [[path, hashlib.sha256(content).hexdigest()] for path, content in runtime_sources()]
    return digest_of(json.dumps(entries).encode())


def runtime_layer(interpreter: Interpreter, blobs: BlobStore, layers: LayerCache) -> Layer:
    """The runtime as it is installed here."""
    files = [
        file_from_bytes(f"{RUNTIME_ROOT}/{path}", content) for path, content in runtime_sources()
    ]
    return _compiled_layer(LayerKind.RUNTIME, files, interpreter, blobs, layers)


def code_layer(
    files: Sequence[FileReference], interpreter: Interpreter, blobs: BlobStore, layers: LayerCache
) -> Layer:
    """The scoring script and the files beside it; an empty folder if there are none.

    Raises:
        NotFound: A file was not uploaded.
        IntegrityError: A path must not be in a layer.
    """
    members = [
        file_from_blob(f"{CODE_ROOT}/{file.path}", file.digest, blobs)
        for file in files
        if _CACHED_BYTE_CODE not in file.path.split("/")  # made here, for the right Python
    ]
    if not members:
        return write_layer(LayerKind.CODE, members, CODE_ROOT, blobs, layers)
    return _compiled_layer(LayerKind.CODE, members, interpreter, blobs, layers)


def model_layer(models: Sequence[Model], blobs: BlobStore, layers: LayerCache) -> Layer:
    """The files of the models, each below `<name>/<version>/`.

    Raises:
        NotFound: A file is gone.
        InsufficientStorage: The disk is full.
    """
    files = [
        file_from_blob(f"{MODELS_ROOT}/{model_folder(model)}/{file.path}", file.digest, blobs)
        for model in models
        for file in model.files
    ]
    return write_layer(LayerKind.MODEL, files, MODELS_ROOT, blobs, layers)


def converted_layer(
    model: Model, files: Mapping[str, bytes], blobs: BlobStore, layers: LayerCache
) -> Layer:
    """Another form of a model, in the place of its own files."""
    members = [
        file_from_bytes(f"{MODELS_ROOT}/{model_folder(model)}/{name}", content)
        for name, content in files.items()
    ]
    return write_layer(LayerKind.MODEL, members, MODELS_ROOT, blobs, layers)


def model_folder(model: Model) -> str:
    """Where a model stands below the folder of all models."""
    return f"{model.name}/{model.version}"


def mount(model: Model, *, alone: bool, converted: bool = False) -> ModelMount:
    """Where a model stands; also what it is, if it is to be loaded without a script."""
    return ModelMount(
        name=model.name,
        version=model.version,
        path=model_folder(model),
        format=model.format if alone else None,
        framework=model.framework if alone else None,
        optimized=converted or None,
    )


def _compiled_layer(
    kind: LayerKind,
    files: Sequence[LayerFile],
    interpreter: Interpreter,
    blobs: BlobStore,
    layers: LayerCache,
) -> Layer:
    with layers.staging() as tree:
        extract(tar_chunks(files), tree)
        sources = [file.path for file in files if file.path.endswith(".py")]
        compile_sources(tree, sources, "/", interpreter)
        return write_tree(kind, tree, blobs, layers)
