"""The container engine of this host, Docker's or podman's, over the Docker Engine API.

Imports the standard library only: one process per replica loads it.
"""
