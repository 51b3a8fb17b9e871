"""The same running product as the end-to-end tests."""

from tests.e2e.conftest import product

__all__ = ["product"]
