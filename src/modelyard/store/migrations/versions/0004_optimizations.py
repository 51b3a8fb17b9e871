"""What came of looking for a faster form of an image's model."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("image", sa.Column("optimization", sa.Text(), nullable=True))
