"""Which fields captured records were found by that are forgotten, so that it may be asked again."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    op.create_table(
        "capture_forgotten_field",
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column("service_name", sa.Text(), nullable=False),
        sa.Column("field", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace"],
            ["workspace.name"],
            name=op.f("fk_capture_forgotten_field_workspace_workspace"),
        ),
        sa.PrimaryKeyConstraint(
            *("workspace", "service_name", "field"), name=op.f("pk_capture_forgotten_field")
        ),
    )
