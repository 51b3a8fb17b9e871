"""Has layers compressed once: the result is a blob, and the database knows which."""

from __future__ import annotations

from modelyard.blobs.base import BlobStore, Stored
from modelyard.control.background import Job
from modelyard.control.blobs import refuse_collected
from modelyard.domain.image import Layer
from modelyard.domain.values import size_text
from modelyard.images.cancelling import go_on
from modelyard.images.oci.compression import compressed
from modelyard.store import Database


class Compressor:
    """Gives the gzip form of layers to whoever renders an image for a job."""

    def __init__(self, database: Database, blobs: BlobStore, job: Job | None = None) -> None:
        self._database = database
        self._blobs = blobs
        self._job = job

    def __call__(self, layer: Layer) -> Stored:
        """The blob with the layer in gzip.

        Raises:
            NotFound: The layer is gone.
            InsufficientStorage: The disk is full.
            Cancelled: The job is not wanted any longer.
        """
        with self._database.read() as tx:
            known = tx.compressed.find(layer.digest)
        if known is not None and self._blobs.exists(known.digest):
            return known
        if self._job is not None:
            self._job.log(f"compressing {layer.kind}, {size_text(layer.size)}")
        stored = self._write(layer)
        with self._database.write() as tx:
            tx.compressed.put(layer.digest, stored)
        refuse_collected(self._blobs, [stored.digest])
        return stored

    def _write(self, layer: Layer) -> Stored:
        with self._blobs.writer() as writer:
            for chunk in compressed(self._blobs.open(layer.digest)):
                go_on()
                writer.write(chunk)
            return writer.commit()
