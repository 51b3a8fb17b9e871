"""How many requests were taken out of each file of captured records."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"

COUNT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column(
        "capture_segment", sa.Column("forgotten", COUNT, nullable=False, server_default="0")
    )
