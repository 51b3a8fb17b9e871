"""Captured records as files: sealed on a host, kept by the server, asked by SQL.

`sealing` and `asking` are programs of their own, for DuckDB's memory and crashes are to stay there.
"""
