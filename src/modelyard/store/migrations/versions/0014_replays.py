"""Replays and reproductions: operations of their kinds."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"

COUNT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)
KINDS = (
    *("image.build", "service.deploy", "service.update", "service.delete", "image.profile"),
    *("image.export", "image.import", "image.push", "image.pull"),
)
REPLAYS = ("image.replay", "image.reproduce")


def one_of(name: str, *values: str) -> sa.Enum:
    return sa.Enum(*values, name=name, native_enum=False, create_constraint=True)


def upgrade() -> None:
    with op.batch_alter_table("operation", copy_from=_operation()) as operation:
        operation.alter_column(
            "kind",
            existing_type=one_of("kind", *KINDS),
            type_=one_of("kind", *KINDS, *REPLAYS),
        )


def _operation() -> sa.Table:
    """The table as the first schema made it: a database cannot be asked for all of this."""
    return sa.Table(
        "operation",
        sa.MetaData(),
        sa.Column("seq", COUNT, autoincrement=True, nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column("kind", one_of("kind", *KINDS), nullable=False),
        sa.Column(
            "state",
            one_of(op.f("ck_operation_state"), "Running", "Succeeded", "Failed", "Cancelled"),
            nullable=False,
        ),
        sa.Column("resource", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("result", sa.Text(), nullable=True),
        sa.Column("log_lines", sa.Integer(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace"], ["workspace.name"], name=op.f("fk_operation_workspace_workspace")
        ),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_operation")),
        sa.UniqueConstraint("id", name=op.f("uq_operation_id")),
        sa.Index(op.f("ix_operation_state"), "state"),
        sa.Index(op.f("ix_operation_workspace_resource_seq"), "workspace", "resource", "seq"),
        sa.Index(op.f("ix_operation_workspace_seq"), "workspace", "seq"),
        sqlite_autoincrement=True,
    )
