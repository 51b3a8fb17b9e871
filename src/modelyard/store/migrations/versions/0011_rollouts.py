"""Candidates beside what serves, and several deployments that share the traffic."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.add_column("service", sa.Column("rollout", sa.Text(), nullable=True))
    op.add_column(
        "deployment", sa.Column("served", sa.Integer(), nullable=False, server_default="0")
    )
    op.add_column(
        "service_change", sa.Column("traffic", sa.Text(), nullable=False, server_default="{}")
    )
    op.add_column(
        "service_change", sa.Column("rollout", sa.Text(), nullable=False, server_default="")
    )
