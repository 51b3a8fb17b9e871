"""Which images carry which packages: an index beside what each image says of itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

from packaging.utils import canonicalize_name
from sqlalchemy import select, union

from modelyard.domain.image import Package
from modelyard.domain.packages import PackageUse
from modelyard.domain.search import Page
from modelyard.store.repository import Repository, insert_all
from modelyard.store.rows import DeploymentRow, ImagePackageRow, ImageRow, ServiceRow
from modelyard.store.search import cursor, position


class _Found(NamedTuple):
    """One image that carries a package."""

    image: int
    version: str
    name: str
    number: int


class Packages(Repository):
    """The packages of all images."""

    def add(self, image: ImageRow, packages: Iterable[Package]) -> None:
        """Note what a built image carries."""
        insert_all(
            self._session,
            ImagePackageRow,
            (
                {
                    "image": image.seq,
                    "name": canonicalize_name(package.name),
                    "version": package.version,
                    "workspace": image.workspace,
                }
                for package in packages
            ),
        )

    def find(
        self,
        workspace: str,
        name: str,
        matches: Callable[[str], bool],
        limit: int,
        page: str | None = None,
    ) -> Page[PackageUse]:
        """The images with a version of the package that matches, newest first.

        Raises:
            InvalidRequest: `page` is not one of this listing.
        """
        wanted = [version for version in self._versions(workspace, name) if matches(version)]
        before = None if page is None else position(page)
        rows = self._rows(workspace, name, wanted, limit + 1, before)
        shown = rows[:limit]
        services = self._services([row.image for row in shown])
        following = cursor(shown[-1].image) if len(rows) > limit else None
        uses = tuple(
            PackageUse(
                package=name,
                version=row.version,
                image=f"{row.name}:{row.number}",
                services=services.get(row.image, ()),
            )
            for row in shown
        )
        return Page[PackageUse](items=uses, next=following)

    def _versions(self, workspace: str, name: str) -> Sequence[str]:
        query = select(ImagePackageRow.version).where(
            ImagePackageRow.workspace == workspace, ImagePackageRow.name == name
        )
        return self._session.scalars(query.distinct()).all()

    def _rows(
        self, workspace: str, name: str, versions: Sequence[str], limit: int, before: int | None
    ) -> list[_Found]:
        query = (
            select(
                ImagePackageRow.image,
                ImagePackageRow.version,
                ImageRow.name,
                ImageRow.version,
            )
            .join(ImageRow, ImageRow.seq == ImagePackageRow.image)
            .where(
                ImagePackageRow.workspace == workspace,
                ImagePackageRow.name == name,
                ImagePackageRow.version.in_(versions),
            )
        )
        if before is not None:
            query = query.where(ImagePackageRow.image < before)
        found = self._session.execute(query.order_by(ImagePackageRow.image.desc()).limit(limit))
        return [_Found(*row) for row in found]

    def _services(self, images: Sequence[int]) -> dict[int, tuple[str, ...]]:
        wanted = select(ServiceRow.image, ServiceRow.name).where(ServiceRow.image.in_(images))
        deployed = (
            select(DeploymentRow.image, ServiceRow.name)
            .join(ServiceRow, ServiceRow.seq == DeploymentRow.service)
            .where(DeploymentRow.image.in_(images))
        )
        found = sorted(
            (image, name) for image, name in self._session.execute(union(wanted, deployed))
        )
        return {
            image: tuple(name for _, name in group)
            for image, group in groupby(found, key=lambda pair: pair[0])
        }
