"""What keeps a user's model to its own files, and from the network unless that is allowed.

`choosing` finds out what this host can do; a `Cell` is one run of an image in it. `bubblewrap` and
`confine` are how it is done, `system_files` what every run may see.
"""
