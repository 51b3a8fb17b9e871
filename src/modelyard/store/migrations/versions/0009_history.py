"""The history of services, beginning with what each is wanted to be now."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

COUNT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)
OUTCOMES = sa.Enum(
    "Pending",
    "Served",
    "Failed",
    "Superseded",
    name="outcome",
    native_enum=False,
    create_constraint=True,
)


def upgrade() -> None:
    op.create_table(
        "service_change",
        sa.Column("service", COUNT, nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("image", sa.Text(), nullable=False),
        sa.Column("settings", sa.Text(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("outcome", OUTCOMES, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["service"],
            ["service.seq"],
            name=op.f("fk_service_change_service_service"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("service", "generation", name=op.f("pk_service_change")),
    )
    op.execute(
        "INSERT INTO service_change (service, generation, image, settings, at, by, outcome, reason)"
        " SELECT s.seq, s.generation, i.name || ':' || i.version, s.settings, s.updated_at,"
        " s.created_by, 'Pending', '' FROM service s JOIN image i ON i.seq = s.image"
    )
