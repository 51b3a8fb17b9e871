"""Recorded requests on their way to disk: what a record is, and the files that it goes into.

Workers and the gateway write them; the agent takes closed files away. Nothing here knows HTTP.
"""
