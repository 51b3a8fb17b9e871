"""What is known of models and images so that others can trust and search them."""

import json

import sqlalchemy as sa
from alembic import op
from packaging.utils import canonicalize_name

revision = "0005"
down_revision = "0004"

COUNT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


IMAGE = sa.table(
    "image", sa.column("seq"), sa.column("workspace"), sa.column("packages", sa.Text())
)


def upgrade() -> None:
    op.add_column("model", sa.Column("imports", sa.Text(), nullable=True))
    op.add_column("image", sa.Column("signature", sa.Text(), nullable=True))
    op.create_table(
        "image_sbom",
        sa.Column("image", COUNT, nullable=False),
        sa.Column("digest", sa.String(71), nullable=False),
        sa.ForeignKeyConstraint(
            ["digest"], ["blob.digest"], name=op.f("fk_image_sbom_digest_blob")
        ),
        sa.ForeignKeyConstraint(
            ["image"],
            ["image.seq"],
            name=op.f("fk_image_sbom_image_image"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("image", name=op.f("pk_image_sbom")),
    )
    op.create_index(op.f("ix_image_sbom_digest"), "image_sbom", ["digest"])
    packages = op.create_table(
        "image_package",
        sa.Column("image", COUNT, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["image"], ["image.seq"], name=op.f("fk_image_package_image_image"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["workspace"], ["workspace.name"], name=op.f("fk_image_package_workspace_workspace")
        ),
        sa.PrimaryKeyConstraint("image", "name", "version", name=op.f("pk_image_package")),
    )
    op.create_index(
        op.f("ix_image_package_workspace_name_image_version"),
        "image_package",
        ["workspace", "name", "image", "version"],
    )
    _note_packages(packages)


def _note_packages(table: sa.Table) -> None:
    """What the images that are there say of themselves."""
    connection = op.get_bind()
    for seq, workspace, text in connection.execute(sa.select(IMAGE)).all():
        rows = [
            {
                "image": seq,
                "name": canonicalize_name(package["name"]),
                "version": package["version"],
                "workspace": workspace,
            }
            for package in json.loads(text)
        ]
        if rows:
            connection.execute(sa.insert(table), rows)
