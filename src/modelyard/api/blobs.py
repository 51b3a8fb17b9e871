"""Bytes in and out, streamed; they are named by their digest only."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Header, Request
from fastapi.responses import StreamingResponse

from modelyard.api.access import Caller, Owner
from modelyard.api.bodies import receive
from modelyard.control.blobs import BlobTransfer
from modelyard.domain.values import Digest
from modelyard.errors import InvalidRequest
from modelyard.schemas import StoredBlob

_RANGE = re.compile(r"^bytes=([0-9]{1,15})-([0-9]{1,15})?$")


def routes(transfer: BlobTransfer) -> APIRouter:
    """Routes for blobs."""
    router = APIRouter(tags=["blobs"])

    @router.post("/blobs", status_code=201)
    async def upload(
        request: Request, caller: Owner, digest: Annotated[Digest | None, Header()] = None
    ) -> StoredBlob:
        """Store the request's body; with a `Digest` header it must have that digest."""
        with transfer.receive(caller) as upload:
            await receive(request, upload.write)
            return await to_thread.run_sync(upload.commit, digest)

    @router.get("/blobs/{digest}", response_class=StreamingResponse)
    def download(
        digest: Digest,
        caller: Caller,
        range_header: Annotated[str | None, Header(alias="Range")] = None,
    ) -> StreamingResponse:
        """The bytes of a blob; a `Range` of one part is honoured."""
        size = transfer.size(caller, digest)
        start, end = _range(range_header, size)
        headers = {
            "Accept-Ranges": "bytes",
            "Content-Length": str(end - start),
            "Content-Disposition": "attachment",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "default-src 'none'; sandbox",
        }
        if range_header is not None:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        chunks: Iterator[bytes] = transfer.send(caller, digest, start, end - start)
        return StreamingResponse(
            chunks,
            206 if range_header is not None else 200,
            headers,
            media_type="application/octet-stream",
        )

    return router


def _range(header: str | None, size: int) -> tuple[int, int]:
    if header is None:
        return 0, size
    match = _RANGE.match(header)
    if match is None or int(match[1]) >= size:
        raise InvalidRequest(
            f"the range `{header[:100]}` does not fit a blob of {size} bytes",
            hint="ask for one range, `bytes=<first>-` or `bytes=<first>-<last>`",
        )
    last = min(int(match[2]), size - 1) if match[2] else size - 1
    return int(match[1]), last + 1
