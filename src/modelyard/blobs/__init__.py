"""Where bytes are kept, named by their digest."""

from modelyard.blobs.base import BlobStore, BlobWriter, Listed, Stored
from modelyard.blobs.local import LocalBlobs

__all__ = ["BlobStore", "BlobWriter", "Listed", "LocalBlobs", "Stored"]
