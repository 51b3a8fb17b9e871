"""How many requests each file of captured records has records of, also while it is kept."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"

TABLE = sa.table("capture_segment", sa.column("requests"), sa.column("rows"), sa.column("deleted"))


def upgrade() -> None:
    op.alter_column("capture_segment", "gone", new_column_name="requests")
    kept = TABLE.c.deleted.is_(sa.false())
    op.execute(TABLE.update().where(kept).values(requests=TABLE.c.rows))
