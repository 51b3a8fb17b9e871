"""What vouches for images and says what is inside them: keys, SBOMs, verification, packages.

Signing itself is part of a build; see `control.making`.
"""

from __future__ import annotations

from collections.abc import Iterator

from modelyard.blobs.base import BlobStore
from modelyard.domain.image import Image
from modelyard.domain.packages import PackageQuery, PackageUse
from modelyard.domain.principal import Principal
from modelyard.domain.search import Page
from modelyard.domain.signature import PublicKey
from modelyard.domain.values import Reference, digest_of
from modelyard.domain.verification import VerifiedPart
from modelyard.errors import IntegrityError, NotFound
from modelyard.images.signing import TrustedKeys
from modelyard.images.verification import verify
from modelyard.store import Database


class SupplyChain:
    """What callers may ask about the origin and the contents of images."""

    def __init__(
        self, database: Database, blobs: BlobStore, key: PublicKey, trusted: TrustedKeys
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._key = key
        self._trusted = trusted

    def key(self, principal: Principal) -> PublicKey:
        """What checks the signatures of the workspace's images."""
        del principal  # one workspace, one key
        return self._key

    def sbom(self, principal: Principal, reference: Reference) -> bytes:
        """What is inside an image, as the CycloneDX document that was made when it was built.

        Raises:
            NotFound: There is no such image, or it has no SBOM.
            IntegrityError: The stored document is not the one that was signed.
        """
        image = self._get(principal, reference)
        digest = image.signature.sbom if image.signature else None
        if digest is None:
            raise NotFound(
                f"image `{image.reference}` has no SBOM",
                hint="one is made by every build that succeeds; build the image again with "
                "--upgrade",
            )
        content = b"".join(self._blobs.open(digest))
        if digest_of(content) != digest:
            raise IntegrityError(
                f"the SBOM of image `{image.reference}` was changed after it was made",
                hint="restore the blob store from a backup, or build the image again",
            )
        return content

    def verify(self, principal: Principal, reference: Reference) -> Iterator[VerifiedPart]:
        """Read all that is stored of an image; every part with what is wrong with it.

        Raises:
            NotFound: There is no such image.
            Conflict: It is not built.
        """
        image = self._get(principal, reference)
        return verify(image, image.built_manifest(), self._blobs, self._trusted)

    def find_package(
        self, principal: Principal, requirement: str, limit: int, page: str | None
    ) -> Page[PackageUse]:
        """Images with a package of these versions, and the services that use them, newest first.

        Raises:
            InvalidRequest: It is not a name with or without versions.
        """
        query = PackageQuery.parse(requirement)
        with self._database.read() as tx:
            return tx.packages.find(principal.workspace, query.name, query.matches, limit, page)

    def _get(self, principal: Principal, reference: Reference) -> Image:
        with self._database.read() as tx:
            return tx.images.get(principal.workspace, reference)
