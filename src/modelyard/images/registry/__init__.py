"""Image registries: the distribution API of OCI, from the client's side.

`reference` reads names, `credentials` finds what Docker and podman know, `session` sends requests,
`client` and `uploads` say what can be done. Used to push and pull images, and to pull bases.
"""
