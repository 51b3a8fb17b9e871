"""What a change of a service failed for, with its evidence."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.add_column("service_change", sa.Column("cause", sa.Text(), nullable=True))
