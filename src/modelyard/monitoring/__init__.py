"""What traffic looks like, and whether it has changed: computing on data, and no more.

numpy and datasketches are loaded by those who compare or sketch, not at the start of a server.
"""
