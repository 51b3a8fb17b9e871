"""Work that is done again and again: a round that fails is logged, and does not end the others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from logging import Logger

from modelyard.errors import ModelyardError


@contextmanager
def a_round(logger: Logger) -> Iterator[None]:
    """Whatever is raised in it is logged, with a traceback where nobody meant to raise it."""
    try:
        yield
    except ModelyardError as error:
        logger.warning("will try again: %s", error)
    except Exception:
        logger.exception("will try again")
