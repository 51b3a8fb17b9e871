"""`azureml.core.model.Model` as far as a scoring script uses it: where a model's files are."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, ClassVar

from modelyard_runtime import config


class ModelNotFoundException(Exception):
    """The image has no such model; the message lists those it has."""


class Model:
    """Finds the models of the image.

    In the original it was also a registered model of a workspace. There is no workspace in a
    replica, so that it cannot be made here.
    """

    _root: ClassVar[str] = ""
    _models: ClassVar[Sequence[config.Model]] = ()

    def __init__(self, *arguments: Any, **named: Any) -> None:
        raise NotImplementedError(
            "A replica has no workspace to look models up in. Use `Model.get_model_path(name)` "
            "for the models that the image was built with."
        )

    @classmethod
    def provide(cls, root: str, models: Sequence[config.Model]) -> None:
        """Tell what the image holds. For the finder."""
        cls._root, cls._models = root, models

    @classmethod
    def get_model_path(
        cls, model_name: str, version: int | None = None, _workspace: Any = None
    ) -> str:
        """The path of a model's only file or folder.

        Args:
            model_name: Its name, or `name:version`.
            version: Its version; the newest in the image when there is none.

        Raises:
            TypeError: The version is not an integer.
            ModelNotFoundException: The image has no such model and the working directory no file
                of that name.
        """
        if version is not None and not isinstance(version, int):
            raise TypeError("version should be an int")
        name, _, wanted = model_name.partition(":")
        wanted = wanted if version is None else str(version)
        found = [m for m in cls._models if m.name == name and wanted in ("", m.version)]
        if found:
            return cls._content(max(found, key=lambda model: _number(model.version)))
        if os.path.exists(model_name):
            return model_name
        raise ModelNotFoundException(cls._missing(model_name, version))

    @classmethod
    def _content(cls, model: config.Model) -> str:
        folder = os.path.join(cls._root, model.name, model.version)
        entries = os.listdir(folder)
        return os.path.join(folder, entries[0]) if len(entries) == 1 else folder

    @classmethod
    def _missing(cls, name: str, version: int | None) -> str:
        wanted = f"`{name}`" if version is None else f"`{name}` version {version}"
        present = ", ".join(f"{model.name}:{model.version}" for model in cls._models) or "none"
        return f"the image has no model {wanted}; its models: {present}"


def _number(version: str) -> int:
    return int(version) if version.isdecimal() else -1
