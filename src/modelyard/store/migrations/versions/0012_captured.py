"""Captured records: their files, and the counts of those who write them."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"

COUNT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "capture_stream",
        sa.Column("agent", sa.Text(), nullable=False),
        sa.Column("epoch", COUNT, nullable=False),
        sa.Column("next", COUNT, nullable=False),
        sa.Column("waiting", sa.Text(), nullable=False),
        sa.Column("reported_at", TIME, nullable=True),
        sa.ForeignKeyConstraint(
            ["agent"],
            ["agent.name"],
            name=op.f("fk_capture_stream_agent_agent"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("agent", name=op.f("pk_capture_stream")),
    )
    op.create_table(
        "capture_segment",
        sa.Column("seq", COUNT, autoincrement=True, nullable=False),
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("service", sa.Uuid(), nullable=False),
        sa.Column("service_name", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("image", sa.Text(), nullable=False),
        sa.Column("date", sa.Date(), nullable=False),
        sa.Column("rows", COUNT, nullable=False),
        sa.Column("first", TIME, nullable=False),
        sa.Column("last", TIME, nullable=False),
        sa.Column("size", COUNT, nullable=False),
        sa.Column("digest", sa.String(length=71), nullable=False),
        sa.Column("requests", COUNT, nullable=False),
        sa.Column("forgotten", COUNT, server_default="0", nullable=False),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace"], ["workspace.name"], name=op.f("fk_capture_segment_workspace_workspace")
        ),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_capture_segment")),
        sa.UniqueConstraint("workspace", "name", name=op.f("uq_capture_segment_workspace_name")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        op.f("ix_capture_segment_workspace_service_name_first"),
        "capture_segment",
        ["workspace", "service_name", "first"],
    )
    op.create_index(
        op.f("ix_capture_segment_workspace_service"), "capture_segment", ["workspace", "service"]
    )
    op.create_table(
        "capture_tally",
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("service", sa.Uuid(), nullable=False),
        sa.Column("service_name", sa.Text(), nullable=False),
        sa.Column("answered", COUNT, nullable=False),
        sa.Column("captured", COUNT, nullable=False),
        sa.Column("sampled_out", COUNT, nullable=False),
        sa.Column("dropped", COUNT, nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace"], ["workspace.name"], name=op.f("fk_capture_tally_workspace_workspace")
        ),
        sa.PrimaryKeyConstraint("workspace", "id", name=op.f("pk_capture_tally")),
    )
    op.create_index(
        op.f("ix_capture_tally_workspace_service_name"),
        "capture_tally",
        ["workspace", "service_name"],
    )
