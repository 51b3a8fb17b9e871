"""Who vouches for an image that comes in, by what is beside it. Called by `control.arrivals`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from modelyard.domain.signature import Signature
from modelyard.domain.values import digest_of
from modelyard.errors import IntegrityError
from modelyard.images.oci.attachments import SBOM, SIGNATURE, Attachment, read_signature
from modelyard.images.signing import TrustedKeys


class Vouched(NamedTuple):
    """A signature of a trusted key, and the SBOM that it is over."""

    signature: Signature
    sbom: bytes | None


def vouching(image: str, beside: Sequence[Attachment], trusted: TrustedKeys) -> Vouched | None:
    """The signature of a trusted key for the image of this digest, or None when there is none.

    Signatures of others prove nothing here, and one whose SBOM did not come along cannot be kept.

    Raises:
        IntegrityError: There is none, but something that claims to be one.
    """
    documents = {digest_of(one.content): one.content for one in beside if one.type == SBOM}
    forged: IntegrityError | None = None
    for one in beside:
        if one.type != SIGNATURE:
            continue
        try:
            signature = _trusted(image, one, trusted)
        except IntegrityError as error:
            forged = error
            continue
        if signature is not None and (signature.sbom is None or signature.sbom in documents):
            return Vouched(signature, documents.get(signature.sbom or ""))
    if forged is not None:
        raise forged
    return None


def _trusted(image: str, attachment: Attachment, trusted: TrustedKeys) -> Signature | None:
    """The signature, if it is for this image and by a trusted key."""
    signed, signature = read_signature(attachment.content)
    if signed != image or not trusted.knows(signature.key):
        return None
    if trusted.why_refused(image, signature) is not None:
        raise IntegrityError(
            f"a signature that came with the image says that it is by {signature.key}, and is not",
            hint="somebody changed it: get the image from elsewhere",
        )
    return signature
