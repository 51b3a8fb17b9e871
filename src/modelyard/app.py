"""Composition root: the only place where concrete classes meet."""
