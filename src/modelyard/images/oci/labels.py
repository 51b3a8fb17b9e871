"""What an OCI image of ours says of itself: the usual labels, and those below `io.modelyard`.

Every value is short, printable ASCII, so that it is harmless wherever it is shown or pasted.
"""

from __future__ import annotations

import json

from pydantic import JsonValue

from modelyard.domain.image import Image, Manifest

EPOCH = "1970-01-01T00:00:00Z"
"""When every image was created: a real time would give the same image two digests."""

TITLE = "org.opencontainers.image.title"
VERSION = "org.opencontainers.image.version"
SAMPLE = "io.modelyard.sample"
DIGEST = "io.modelyard.digest"

_LONGEST = 16_384
"""Characters of one value; what is longer is left out rather than cut."""


def standard_labels(image: Image, manifest: Manifest) -> dict[str, str]:
    """Those that tools of others know; also the annotations of the OCI manifest."""
    labels = {
        TITLE: image.name,
        VERSION: str(image.version),
        "org.opencontainers.image.created": EPOCH,
        "org.opencontainers.image.description": image.description,
    }
    if manifest.base is not None and manifest.base.origin == "image":
        labels["org.opencontainers.image.base.digest"] = manifest.base.digest
    return _harmless(labels)


def all_labels(image: Image, manifest: Manifest) -> dict[str, str]:
    """The standard ones and ours: models, lock, interface and sample."""
    own = {
        DIGEST: manifest.digest,
        "io.modelyard.kind": manifest.kind,
        "io.modelyard.python": manifest.python,
        "io.modelyard.lock": manifest.lock,
        "io.modelyard.models": _text([model.reference for model in manifest.models]),
    }
    if image.check is not None:
        own["io.modelyard.schema"] = _text(_schemas(image.check.openapi))
        if image.check.sample is not None:
            own[SAMPLE] = _text(image.check.sample)
    return standard_labels(image, manifest) | _harmless(own)


def sample_in(labels: dict[str, str] | None) -> JsonValue:
    """The sample that an image carries; None: none that can be read."""
    text = (labels or {}).get(SAMPLE, "")
    if not text or len(text) > _LONGEST:
        return None
    try:
        sample: JsonValue = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return sample


def _schemas(openapi: JsonValue) -> JsonValue:
    """What the service takes and gives, as its description has it, without what all have."""
    components = openapi.get("components") if isinstance(openapi, dict) else None
    schemas = components.get("schemas") if isinstance(components, dict) else None
    if not isinstance(schemas, dict):
        return {}
    return {name: schema for name, schema in schemas.items() if name != "ErrorResponse"}


def _text(value: JsonValue) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _harmless(labels: dict[str, str]) -> dict[str, str]:
    """Values in printable ASCII, on one line; without those that are empty or too long."""
    plain = {
        key: "".join(c if " " <= c <= "~" else " " if c.isspace() else "?" for c in value).strip()
        for key, value in labels.items()
    }
    return {key: value for key, value in plain.items() if 0 < len(value) <= _LONGEST}
