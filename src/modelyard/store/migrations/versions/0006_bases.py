"""What an image stands on: the layers of its base."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

COUNT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "image_base",
        sa.Column("image", COUNT, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(71), nullable=False),
        sa.ForeignKeyConstraint(
            ["digest"], ["blob.digest"], name=op.f("fk_image_base_digest_blob")
        ),
        sa.ForeignKeyConstraint(
            ["image"], ["image.seq"], name=op.f("fk_image_base_image_image"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("image", "position", name=op.f("pk_image_base")),
    )
    op.create_index(op.f("ix_image_base_digest"), "image_base", ["digest"])
