"""What is inside an image, as a CycloneDX document. Called by the builder, for every build.

The same image gives the same bytes: nothing is sorted by chance, there is no time stamp, and the
serial number is made from the content. The document is plain JSON, which tests hold against the
published schema; the library that writes such documents is larger than what it would save here.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote
from uuid import NAMESPACE_OID, uuid5

from packaging.utils import canonicalize_name

from modelyard.domain.image import LayerKind, Manifest
from modelyard.domain.model import Model
from modelyard.images.environment import Lock, Pin

MEDIA_TYPE = "application/vnd.cyclonedx+json; version=1.6"

Part = dict[str, Any]


def describe(
    name: str,
    manifest: Manifest,
    lock: Lock,
    models: Sequence[Model],
    converted: Mapping[str, bytes] | None = None,
) -> bytes:
    """The document of an image.

    Args:
        name: Name of the image.
        manifest: What it is made of.
        lock: Of its environment.
        models: Those inside, in the order of the build.
        converted: Files that stand in place of the one model's own.
    """
    image = _image(name, manifest)
    components = [
        _python(manifest),
        *_base(manifest),
        _runtime(manifest),
        *(_package(pin) for pin in lock.pins),
        _code(manifest),
        *(_model(model, converted) for model in models),
    ]
    body = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"tools": {"components": [_tool()]}, "component": image},
        "components": components,
        "dependencies": [
            {
                "ref": image["bom-ref"],
                "dependsOn": sorted(part["bom-ref"] for part in components),
            }
        ],
    }
    serial = uuid5(NAMESPACE_OID, hashlib.sha256(_text(body)).hexdigest())
    return _text({**body, "serialNumber": f"urn:uuid:{serial}"})


def _image(name: str, manifest: Manifest) -> Part:
    facts = {"lock": manifest.lock, "platform": str(manifest.platform)}
    facts |= {f"layer:{layer.kind}": layer.digest for layer in manifest.layers}
    return {
        **_component("container", "image", name, manifest.digest),
        "properties": _properties(facts),
    }


def _python(manifest: Manifest) -> Part:
    return _component("platform", "python", "python", manifest.python)


def _base(manifest: Manifest) -> list[Part]:
    """What the image stands on, as far as its digests say it."""
    if manifest.base is None:
        return []
    base = manifest.base
    facts = {"origin": base.origin, "python": base.python}
    facts |= {f"layer:{number}": layer.diff_id for number, layer in enumerate(base.layers)}
    return [
        {
            **_component("container", "base", "base", base.digest),
            "properties": _properties(facts),
        }
    ]


def _runtime(manifest: Manifest) -> Part:
    version = importlib.metadata.version("modelyard-runtime")
    part = _component("framework", "runtime", "modelyard-runtime", version)
    return {**part, "hashes": _hashes(manifest.layer(LayerKind.RUNTIME).digest)}


def _package(pin: Pin) -> Part:
    name = canonicalize_name(pin.name)
    purl = f"pkg:pypi/{name}@{quote(pin.version, safe='.-_~')}"
    part = {**_component("library", "", name, pin.version), "bom-ref": purl, "purl": purl}
    return {**part, "hashes": _hashes(*pin.hashes)} if pin.hashes else part


def _code(manifest: Manifest) -> Part:
    part = _component("application", "code", manifest.script or "no script", None)
    return {**part, "hashes": _hashes(manifest.layer(LayerKind.CODE).digest)}


def _model(model: Model, converted: Mapping[str, bytes] | None) -> Part:
    own = {file.path: file.digest for file in model.files}
    if converted is None:
        return _files(model, "model", own)
    made = {path: hashlib.sha256(content).hexdigest() for path, content in converted.items()}
    original = _files(model, "original", own)
    return {**_files(model, "model", made), "pedigree": {"ancestors": [original]}}


def _files(model: Model, kind: str, digests: Mapping[str, str]) -> Part:
    part = _component("machine-learning-model", kind, model.name, str(model.version))
    files = [
        {
            **_component("file", part["bom-ref"], path, None),
            "hashes": _hashes(digests[path]),
        }
        for path in sorted(digests)
    ]
    facts = {"format": str(model.format)}
    if model.framework is not None:
        facts["framework"] = model.framework
    imports = [{"name": "modelyard:imports", "value": name} for name in _imports(model)]
    return {**part, "components": files, "properties": [*_properties(facts), *imports]}


def _imports(model: Model) -> list[str]:
    """What loading its pickles would import."""
    if model.imports is None:
        return []
    return [*model.imports.names, *([] if model.imports.complete else ["…"])]


def _tool() -> Part:
    version = importlib.metadata.version("modelyard")
    return {"type": "application", "name": "modelyard", "version": version}


def _component(type_: str, kind: str, name: str, version: str | None) -> Part:
    reference = f"{kind}:{name}" if version is None else f"{kind}:{name}@{version}"
    part = {"type": type_, "bom-ref": reference, "name": name}
    return part if version is None else {**part, "version": version}


def _hashes(*digests: str) -> list[Part]:
    contents = sorted(digest.removeprefix("sha256:") for digest in digests)
    return [{"alg": "SHA-256", "content": content} for content in contents]


def _properties(facts: Mapping[str, str]) -> list[Part]:
    return [{"name": f"modelyard:{name}", "value": facts[name]} for name in sorted(facts)]


def _text(document: Part) -> bytes:
    return json.dumps(document, sort_keys=True, indent=1).encode()
