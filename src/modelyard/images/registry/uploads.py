"""Pushing to a repository: only what is missing there, in pieces, and on after a break."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import httpx2

from modelyard.errors import IntegrityError, Unavailable
from modelyard.images.oci.documents import Descriptor
from modelyard.images.registry.client import Repository
from modelyard.images.registry.session import Temporary

CHUNK = 16 << 20
"""Bytes of one piece of an upload; what is lost with a broken connection."""
_OCTETS = {"Content-Type": "application/octet-stream"}

Read = Callable[[int, int], bytes]
"""Bytes of a blob: from an offset, that many at most."""


def push_blob(
    repository: Repository,
    descriptor: Descriptor,
    read: Read,
    mount_from: str | None = None,
    sent: Callable[[int], None] = lambda length: None,
) -> str:
    """Have a blob in the repository; what was done: `there`, `mounted` or `uploaded`.

    Args:
        repository: Where to.
        descriptor: The blob.
        read: Gives its bytes.
        mount_from: A repository of the same registry that may have it already.
        sent: Is told how many bytes have gone.

    Raises:
        InvalidRequest: The registry lets nobody write there, or not who we are.
        IntegrityError: It answers what makes no sense.
        Unavailable: It fails again and again.
    """
    if repository.has_blob(descriptor):
        return "there"
    upload = _begin(repository, descriptor, mount_from)
    if upload is None:
        return "mounted"
    _Upload(repository, descriptor, read, upload, sent).run()
    return "uploaded"


def push_manifest(
    repository: Repository, descriptor: Descriptor, body: bytes, selector: str | None = None
) -> bool:
    """Put a manifest into the repository; whether the registry itself lists what refers to what.

    Args:
        repository: Where to.
        descriptor: The manifest.
        body: Its bytes.
        selector: Tag or digest that it gets; unset: the tag of the repository's name.

    Raises:
        IntegrityError: The registry has made something else of it.
    """
    session = repository.session
    selector = selector or repository.image.tag or descriptor.digest
    response: httpx2.Response = session.retrying(
        lambda: session.request(
            "PUT",
            session.url(f"manifests/{selector}"),
            headers={"Content-Type": descriptor.media_type},
            body=body,
        )
    )
    kept = response.headers.get("docker-content-digest", descriptor.digest)
    if kept != descriptor.digest:
        raise IntegrityError(f"{session.image.host} keeps {descriptor.digest} as {kept[:100]}")
    return "oci-subject" in response.headers


def _begin(repository: Repository, descriptor: Descriptor, mount_from: str | None) -> str | None:
    """Address of a new upload; None when the blob was mounted from another repository."""
    session = repository.session
    query = urlencode({"mount": descriptor.digest, "from": mount_from}) if mount_from else ""
    url = session.url("blobs/uploads/") + (f"?{query}" if query else "")
    response: httpx2.Response = session.retrying(lambda: session.request("POST", url))
    return None if response.status_code == 201 else _location(repository, response)


def _location(repository: Repository, response: httpx2.Response) -> str:
    location = response.headers.get("location")
    if not location:
        raise IntegrityError(f"{repository.image.host} begins an upload and does not say where")
    return repository.session.checked(location, str(response.request.url))


class _Upload:
    """One blob on its way; its address changes with every answer."""

    def __init__(
        self,
        repository: Repository,
        descriptor: Descriptor,
        read: Read,
        url: str,
        sent: Callable[[int], None],
    ) -> None:
        self._repository = repository
        self._session = repository.session
        self._descriptor = descriptor
        self._read = read
        self._url = url
        self._sent = sent
        self._position = 0

    def run(self) -> None:
        failures = 0
        while True:
            try:
                for length in self._pieces():
                    failures = 0
                    self._sent(length)
                return
            except Temporary as problem:
                failures += 1
                self._session.pause(failures, problem)
                if self._is_done():
                    return
                self._find_position()

    def _pieces(self) -> Iterator[int]:
        """Send all that is left; the last piece ends the upload."""
        size = self._descriptor.size
        while size - self._position > CHUNK:
            yield self._patch(self._read(self._position, CHUNK))
        yield self._put(self._read(self._position, size - self._position))

    def _patch(self, piece: bytes) -> int:
        last = self._position + len(piece) - 1
        headers = {**_OCTETS, "Content-Range": f"{self._position}-{last}"}
        response = self._session.request("PATCH", self._url, headers=headers, body=piece)
        self._url = _location(self._repository, response)
        self._position = last + 1
        return len(piece)

    def _put(self, piece: bytes) -> int:
        url = _with_query(self._url, digest=self._descriptor.digest)
        self._session.request("PUT", url, headers=_OCTETS, body=piece)
        return len(piece)

    def _is_done(self) -> bool:
        """The answer to the last piece may be all that was lost."""
        return self._repository.has_blob(self._descriptor)

    def _find_position(self) -> None:
        """Ask how much has arrived; begin anew where nobody knows."""
        response: httpx2.Response = self._session.retrying(
            lambda: self._session.request("GET", self._url, accepted=(400, 404, 405, 416))
        )
        match = re.fullmatch(r"(?:bytes=)?0-([0-9]{1,15})", response.headers.get("range", ""))
        if not response.is_success or match is None:
            upload = _begin(self._repository, self._descriptor, None)
            if upload is None:
                raise Unavailable(f"{self._session.image.host} mounts what it was not asked to")
            self._url, self._position = upload, 0
            return
        arrived = int(match[1]) + 1 if int(match[1]) else 0
        if arrived > self._descriptor.size:
            raise IntegrityError(f"{self._session.image.host} has more of a blob than there is")
        self._position = arrived
        if response.headers.get("location"):
            self._url = _location(self._repository, response)


def _with_query(url: str, **fields: str) -> str:
    parts = urlsplit(url)
    query = urlencode([*parse_qsl(parts.query, keep_blank_values=True), *fields.items()])
    return urlunsplit(parts._replace(query=query))
