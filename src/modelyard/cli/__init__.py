"""The command line: one module per noun, loaded when one of its commands is called."""

from modelyard.cli.root import main

__all__ = ["main"]
