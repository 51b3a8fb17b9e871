"""What services count in each minute."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

COUNT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "service_minute",
        sa.Column("service", COUNT, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deployment", sa.Text(), nullable=False),
        sa.Column("image", sa.Text(), nullable=False),
        sa.Column("figures", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["service"],
            ["service.seq"],
            name=op.f("fk_service_minute_service_service"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("service", "at", "deployment", name=op.f("pk_service_minute")),
    )
    op.create_index(op.f("ix_service_minute_at"), "service_minute", ["at"])
