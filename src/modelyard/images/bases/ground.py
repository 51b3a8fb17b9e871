"""What an image is to stand on, as the builder needs to know it. Made by `choice`."""

from __future__ import annotations

from modelyard.domain.image import Base
from modelyard.domain.values import Value
from modelyard.images.launch import Interpreter


class Ground(Value):
    """A Python on a platform, and where it comes from in a container."""

    interpreter: Interpreter
    """What the environment is made for."""
    base: Base | None
    """Null: the image runs only as processes of a host."""
