"""Brings images to this host: unpacked for processes, into the container engine for containers.

`images` has it done and says why it could not be; `fetching` gets blobs by digest.
"""
