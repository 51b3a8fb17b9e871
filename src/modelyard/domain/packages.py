"""Looking for a package: which of its versions are meant, and where one was found."""

from __future__ import annotations

from typing import NamedTuple

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from modelyard.domain.values import Value
from modelyard.errors import InvalidRequest

_HINT = "write a name, or a name with versions, such as `jinja2<3.1.4`"
_SHOWN = 200


class PackageUse(Value):
    """One image that carries a package that was looked for."""

    package: str
    """Its name in the usual form: lower case, with dashes."""
    version: str
    image: str
    """`name:version`."""
    services: tuple[str, ...]
    """Services that want this image, or have a deployment of it."""


class PackageQuery(NamedTuple):
    """The versions of one package that are looked for."""

    name: str
    versions: SpecifierSet

    @classmethod
    def parse(cls, text: str) -> PackageQuery:
        """Read `jinja2<3.1.4`, or a name alone for every version.

        Raises:
            InvalidRequest: It is something else, or asks for more than a version.
        """
        shown = f"`{text[:_SHOWN]}`"
        try:
            found = Requirement(text)
        except InvalidRequirement as error:
            raise InvalidRequest(f"{shown} is not a package to look for", hint=_HINT) from error
        if found.url or found.extras or found.marker:
            raise InvalidRequest(
                f"{shown} says more than a name and versions: images are searched by those alone",
                hint=_HINT,
            )
        return cls(canonicalize_name(found.name), found.specifier)

    def matches(self, version: str) -> bool:
        """Whether this version is meant; one that cannot be read is, to be on the safe side."""
        try:
            return self.versions.contains(Version(version), prereleases=True)
        except InvalidVersion:
            return True
