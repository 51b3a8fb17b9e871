"""Two more formats of models: what `torch.export.save` and skops write."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

COUNT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)
FORMATS = (
    "pickle",
    "joblib",
    "onnx",
    "safetensors",
    "torchscript",
    "xgboost",
    "lightgbm",
    "keras",
    "mlflow",
    "custom",
)


def one_of(name: str, *values: str) -> sa.Enum:
    return sa.Enum(*values, name=name, native_enum=False, create_constraint=True)


def upgrade() -> None:
    with op.batch_alter_table("model", copy_from=_model()) as model:
        model.alter_column(
            "format",
            existing_type=one_of("format", *FORMATS),
            type_=one_of("format", *FORMATS, "skops", "torch_export"),
        )


def _model() -> sa.Table:
    """The table as the first schema made it: a database cannot be asked for all of this."""
    return sa.Table(
        "model",
        sa.MetaData(),
        sa.Column("seq", COUNT, autoincrement=True, nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("format", one_of("format", *FORMATS), nullable=False),
        sa.Column("framework", sa.Text(), nullable=True),
        sa.Column("framework_version", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("sample_input", sa.Text(), nullable=True),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.CheckConstraint("version >= 1", name=op.f("ck_model_version")),
        sa.ForeignKeyConstraint(
            ["workspace"], ["workspace.name"], name=op.f("fk_model_workspace_workspace")
        ),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_model")),
        sa.UniqueConstraint("id", name=op.f("uq_model_id")),
        sa.UniqueConstraint(
            "workspace", "name", "version", name=op.f("uq_model_workspace_name_version")
        ),
        sa.Index(op.f("ix_model_workspace_framework_seq"), "workspace", "framework", "seq"),
        sa.Index(op.f("ix_model_workspace_name_seq"), "workspace", "name", "seq"),
        sa.Index(op.f("ix_model_workspace_seq"), "workspace", "seq"),
        sqlite_autoincrement=True,
    )
