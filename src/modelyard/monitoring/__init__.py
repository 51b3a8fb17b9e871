"""What traffic looks like, whether it has changed, how good answers were, and what others would be.

`measuring` and `replaying` are programs of their own, for strangers' bytes are to stay there. numpy
and datasketches are loaded by those who compare or sketch, not at the start of a server.
"""
