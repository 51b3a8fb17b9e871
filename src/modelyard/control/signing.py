"""Gives a workspace the key that signs its images. Called at every start of the server."""

from __future__ import annotations

import logging
from pathlib import Path

from modelyard.images.signing import SigningKey, TrustedKeys
from modelyard.store import Database

_logger = logging.getLogger("modelyard.signing")


def workspace_key(
    database: Database, workspace: str, path: Path, trusted: TrustedKeys
) -> SigningKey:
    """The key in the file at `path`, which is made when it is missing; its public half is trusted.

    A new key signs every image that the workspace has: the server trusts its own rows, once. From
    then on an image without a signature is one that somebody put there.
    """
    key = SigningKey.load(path)
    if key is None:
        key = SigningKey.generate()
        with database.write() as tx:
            signed = tx.images.sign_all(workspace, key.sign)
        # Last, so that a start that was interrupted makes another key and signs all of it again.
        key.save(path)
        _logger.info("made the signing key %s; it signed %d images", key.public.id, signed)
    trusted.add(key.public)
    return key
