"""Alerts: how they stand, where they are told, and what is still to be told."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"

COUNT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "alert",
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column("service", sa.Text(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("alert", sa.Text(), nullable=False),
        sa.Column("marks", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace"], ["workspace.name"], name=op.f("fk_alert_workspace_workspace")
        ),
        sa.PrimaryKeyConstraint("workspace", "service", "rule", name=op.f("pk_alert")),
    )
    op.create_table(
        "alert_channel",
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column(
            "kind",
            sa.Enum(
                "webhook",
                "email",
                "command",
                name="channel_kind",
                native_enum=False,
                create_constraint=True,
            ),
            nullable=False,
        ),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("delivered", COUNT, nullable=False),
        sa.Column("failed", COUNT, nullable=False),
        sa.Column("given_up", COUNT, nullable=False),
        sa.Column("delivered_at", TIME, nullable=True),
        sa.Column("error", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace"], ["workspace.name"], name=op.f("fk_alert_channel_workspace_workspace")
        ),
        sa.PrimaryKeyConstraint("workspace", "name", name=op.f("pk_alert_channel")),
    )
    op.create_table(
        "alert_message",
        sa.Column("seq", COUNT, autoincrement=True, nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("service", sa.Text(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_at", TIME, nullable=True),
        sa.ForeignKeyConstraint(
            ["workspace", "channel"],
            ["alert_channel.workspace", "alert_channel.name"],
            name=op.f("fk_alert_message_workspace_alert_channel"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_alert_message")),
        sa.UniqueConstraint("id", name=op.f("uq_alert_message_id")),
    )
    op.create_index(op.f("ix_alert_message_next_at"), "alert_message", ["next_at"])
    op.create_index(
        op.f("ix_alert_message_workspace_channel_created_at"),
        "alert_message",
        ["workspace", "channel", "created_at"],
    )
