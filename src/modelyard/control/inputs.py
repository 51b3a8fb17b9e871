"""Everything that goes into an image, as one digest: by it a build finds what was built before.

Called by `control.images` when a build is accepted.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from modelyard.domain.model import Model
from modelyard.domain.values import digest_of
from modelyard.images.builder import ImageBuilder
from modelyard.schemas import BuildImage


def digest_of_inputs(
    request: BuildImage,
    models: Sequence[Model],
    requirements: Sequence[str],
    base_key: str,
    builder: ImageBuilder,
) -> str:
    """`sha256:…` of a build's inputs.

    Args:
        request: What was asked for.
        models: The models to put inside.
        requirements: The requirement lines, also where none were given and they are derived.
        base_key: Of what the image stands on.
        builder: Knows the runtime, and what it needs itself.
    """
    document: dict[str, Any] = {
        "models": [
            [model.reference, sorted((file.path, file.digest) for file in model.files)]
            for model in models
        ],
        "files": sorted((file.path, file.digest) for file in request.files),
        "script": request.script,
        "base": base_key,
        "requirements": builder.needed(requirements),
        "runtime": builder.runtime_digest(),
    }
    if request.script is None:  # what the runtime loads the model by
        document["served"] = [[model.format, model.framework] for model in models]
    ways = ("optimize", "slim", "allow_sources")
    document |= {way: True for way in ways if getattr(request, way)}
    text = json.dumps(document, sort_keys=True)
    return digest_of(text.encode())
