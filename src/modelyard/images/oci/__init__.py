"""OCI images: how ours are rendered, and how those of others are read, without a container engine.

`documents` and `source` say what an OCI image is; `rendering` makes one of a manifest of ours;
`layout`, `archive` and `docker` are the forms in which files carry one.
"""
