"""One repository of an image registry: what is there, and its blobs, whatever the network does.

Pushing is `uploads`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import httpx2

from modelyard.domain.image import Platform
from modelyard.domain.values import digest_of
from modelyard.errors import IntegrityError
from modelyard.images.oci.documents import INDEXES, MANIFESTS, Descriptor
from modelyard.images.oci.source import Found, find, verified
from modelyard.images.registry.credentials import find_credentials
from modelyard.images.registry.reference import ImageName, parse_name
from modelyard.images.registry.session import Session, Sleep, Temporary

_ACCEPT = {"Accept": ", ".join((*MANIFESTS, *INDEXES))}


class Repository:
    """One repository, as a `Source` of images.

    Args:
        reference: Name of an image in it, such as `registry.example.org/team/digits:1`.
        actions: What is to be allowed: `pull`, or `pull,push`.
        transport: Stands for the network in tests.
        sleep: Waits that many seconds.

    Raises:
        InvalidRequest: The name is none, or the credentials cannot be read.
    """

    def __init__(
        self,
        reference: str,
        actions: str = "pull",
        transport: httpx2.BaseTransport | None = None,
        sleep: Sleep = time.sleep,
    ) -> None:
        self.image: ImageName = parse_name(reference)
        self.session = Session(self.image, find_credentials(self.image), actions, transport, sleep)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.session.close()

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return str(self.image)

    def root(self) -> Descriptor:
        """What the name stands for: a manifest, or an index of several.

        Raises:
            NotFound: The registry does not have it.
            IntegrityError: It sends another one than the digest in the name.
        """
        return self.manifest(self.image.selector)[0]

    def pull_manifest(self, platform: Platform | None = None) -> Found:
        """The image that the name stands for, on a platform; None: the only one there is.

        Raises:
            NotFound: The registry does not have it.
            InvalidRequest: It has none for this platform.
            IntegrityError: What it sends is not what it promised.
            Unavailable: It does not answer, or fails again and again.
        """
        return find(self, self.root(), platform)

    def open(self, descriptor: Descriptor) -> Iterator[bytes]:
        """The bytes of a blob or a manifest; a broken connection is continued where it broke.

        Raises:
            NotFound: The registry does not have it.
            IntegrityError: Other bytes came than were promised, at the latest after the last one.
            Unavailable: The registry fails again and again.
        """
        if descriptor.media_type in (*MANIFESTS, *INDEXES):
            chunks: Iterator[bytes] = iter((self.manifest(descriptor.digest)[1],))
        else:
            chunks = self._received(descriptor)
        return verified(chunks, descriptor.digest, descriptor.size, self.image.host)

    def has_blob(self, descriptor: Descriptor) -> bool:
        """Whether the registry has a blob in this repository."""
        url = self.session.url(f"blobs/{descriptor.digest}")
        response: httpx2.Response = self.session.retrying(
            lambda: self.session.request("HEAD", url, accepted=(404,))
        )
        length = response.headers.get("content-length", str(descriptor.size))
        return response.is_success and length == str(descriptor.size)

    def manifest(self, selector: str) -> tuple[Descriptor, bytes]:
        """The manifest or index under a tag or a digest. Raises as `root` does."""
        url = self.session.url(f"manifests/{selector}")
        response: httpx2.Response = self.session.retrying(
            lambda: self.session.request("GET", url, headers=_ACCEPT)
        )
        body = response.content
        digest = digest_of(body)
        if selector.startswith("sha256:") and digest != selector:
            raise IntegrityError(f"{self.image.host} sent {digest} where {selector} was asked for")
        media_type = response.headers.get("content-type", "").partition(";")[0].strip()
        if media_type not in (*MANIFESTS, *INDEXES):
            raise IntegrityError(
                f"{self.name} is of the type {media_type[:100]!r}, which is no image",
                hint="images by OCI's specification and Docker's version 2 can be read",
            )
        return Descriptor(media_type=media_type, digest=digest, size=len(body)), body

    def _received(self, descriptor: Descriptor) -> Iterator[bytes]:
        position = failures = 0
        while position < descriptor.size:
            try:
                for chunk in self._part(descriptor, position):
                    position += len(chunk)
                    failures = 0
                    yield chunk
                if position < descriptor.size:
                    raise Temporary("it ended a blob before its end")
            except Temporary as problem:
                failures += 1
                self.session.pause(failures, problem)

    def _part(self, descriptor: Descriptor, start: int) -> Iterator[bytes]:
        """The bytes from `start` on; a registry that sends all of them has the rest passed over."""
        headers = {"Range": f"bytes={start}-"} if start else {}
        url = self.session.url(f"blobs/{descriptor.digest}")
        with self.session.stream("GET", url, headers=headers) as response:
            skip = start if response.status_code == 200 else 0
            self._check_length(response, descriptor, start - skip)
            for chunk in response.iter_raw():
                if len(chunk) > skip:
                    yield chunk[skip:]  # never nothing: what comes is what the caller counts on
                skip = max(0, skip - len(chunk))

    def _check_length(self, response: httpx2.Response, descriptor: Descriptor, start: int) -> None:
        """Refuse another length at once, before gigabytes have come."""
        if start:
            wanted = rf"bytes {start}-[0-9]+/({descriptor.size}|\*)"
            if not re.fullmatch(wanted, response.headers.get("content-range", "")):
                raise IntegrityError(f"{self.image.host} sent another part than was asked for")
            return
        length = response.headers.get("content-length", str(descriptor.size))
        if length != str(descriptor.size):
            raise IntegrityError(
                f"{self.image.host}: blob {descriptor.digest} has {length[:20]} bytes, not "
                f"{descriptor.size}"
            )
