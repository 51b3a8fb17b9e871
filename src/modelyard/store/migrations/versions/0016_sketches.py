"""What is kept of rows to compare them: by hour and day, and of what models were made for."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"

COUNT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column(
        "capture_segment",
        sa.Column("sketched", sa.Boolean(), server_default=sa.false(), nullable=False),
    )
    op.create_table(
        "capture_sketch",
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column("service_name", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("hours", sa.Integer(), nullable=False),
        sa.Column("begins", TIME, nullable=False),
        sa.Column("rows", COUNT, nullable=False),
        sa.Column("sketch", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace"], ["workspace.name"], name=op.f("fk_capture_sketch_workspace_workspace")
        ),
        sa.PrimaryKeyConstraint(
            *("workspace", "service_name", "model", "version", "hours", "begins"),
            name=op.f("pk_capture_sketch"),
        ),
    )
    op.create_table(
        "drift_baseline",
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column("service_name", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("rows", COUNT, nullable=False),
        sa.Column("features", sa.Text(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("sketch", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace"], ["workspace.name"], name=op.f("fk_drift_baseline_workspace_workspace")
        ),
        sa.PrimaryKeyConstraint(
            *("workspace", "service_name", "model", "version"), name=op.f("pk_drift_baseline")
        ),
    )
