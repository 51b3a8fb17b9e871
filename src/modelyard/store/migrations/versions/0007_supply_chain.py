"""What is attached to images so that others can trust and search them."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("image", sa.Column("signature", sa.Text(), nullable=True))
