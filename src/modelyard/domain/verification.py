"""What came of looking at everything that is stored of an image."""

from __future__ import annotations

from modelyard.domain.values import Digest, Value


class VerifiedPart(Value):
    """One thing that was looked at."""

    part: str
    """`manifest`, `signature`, `sbom`, `layer <kind>` or `base layer <number>`."""
    digest: Digest
    """What it ought to hash to; of the signature, the image that it is for."""
    problem: str | None = None
    """What is wrong with it; null: nothing."""


class Verification(Value):
    """All of it, in the order in which it was looked at."""

    image: str
    """`name:version`."""
    intact: bool
    """Nothing is wrong."""
    parts: tuple[VerifiedPart, ...]
