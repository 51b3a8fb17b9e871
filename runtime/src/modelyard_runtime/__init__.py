"""The scoring runtime of Modelyard: the HTTP server inside every image."""

__version__ = "0.1.0"
"""What a replica says of itself; that of the distribution."""
