"""What is attached to images so that others can trust and search them."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0004"

COUNT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
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
