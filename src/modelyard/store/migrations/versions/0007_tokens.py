"""What recognises tokens that are signed under a service's keys."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column(
        "service_key", sa.Column("token_key", sa.Text(), nullable=False, server_default="")
    )
