"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

COUNT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
DIGEST = sa.String(71)
TIME = sa.DateTime(timezone=True)


def one_of(name: str, *values: str) -> sa.Enum:
    return sa.Enum(*values, name=name, native_enum=False, create_constraint=True)


def upgrade() -> None:
    _create_ground()
    _create_blobs()
    _create_operations()
    _create_models()
    _create_images()
    _create_services()
    _create_logs()


def _create_ground() -> None:
    op.create_table(
        "workspace",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_workspace")),
    )
    op.create_table(
        "principal",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column(
            "role",
            one_of("role", "owner", "agent"),
            nullable=False,
        ),
        sa.Column("token_hash", sa.Text(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace"], ["workspace.name"], name=op.f("fk_principal_workspace_workspace")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_principal")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_principal_token_hash")),
        sa.UniqueConstraint("workspace", "name", name=op.f("uq_principal_workspace_name")),
    )
    op.create_table(
        "version_counter",
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column(
            "kind",
            one_of("kind", "model", "image"),
            nullable=False,
        ),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("last", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace"], ["workspace.name"], name=op.f("fk_version_counter_workspace_workspace")
        ),
        sa.PrimaryKeyConstraint("workspace", "kind", "name", name=op.f("pk_version_counter")),
    )
    op.create_table(
        "agent",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("last_seen", TIME, nullable=True),
        sa.Column("observed", sa.Text(), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace"], ["workspace.name"], name=op.f("fk_agent_workspace_workspace")
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_agent")),
    )


def _create_blobs() -> None:
    op.create_table(
        "blob",
        sa.Column("digest", DIGEST, nullable=False),
        sa.Column("size", COUNT, nullable=False),
        sa.Column(
            "state",
            one_of("state", "live", "condemned", "deleting"),
            nullable=False,
        ),
        sa.Column("leased_until", TIME, nullable=False),
        sa.Column("condemned_at", TIME, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.CheckConstraint("length(digest) = 71", name=op.f("ck_blob_digest")),
        sa.CheckConstraint("size >= 0", name=op.f("ck_blob_size")),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_blob")),
    )
    op.create_index(op.f("ix_blob_state_leased_until"), "blob", ["state", "leased_until"])
    op.create_table(
        "environment_lock",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("lock", sa.Text(), nullable=False),
        sa.Column("digest", DIGEST, nullable=False),
        sa.Column("size", COUNT, nullable=False),
        sa.Column("packages", sa.Text(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["digest"], ["blob.digest"], name=op.f("fk_environment_lock_digest_blob")
        ),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_environment_lock")),
    )
    op.create_index(op.f("ix_environment_lock_digest"), "environment_lock", ["digest"])


def _create_operations() -> None:
    op.create_table(
        "operation",
        sa.Column(
            "seq",
            COUNT,
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column(
            "kind",
            one_of("kind", "image.build", "service.deploy", "service.update", "service.delete"),
            nullable=False,
        ),
        sa.Column(
            "state",
            one_of("state", "Running", "Succeeded", "Failed", "Cancelled"),
            nullable=False,
        ),
        sa.Column("resource", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("log_lines", sa.Integer(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace"], ["workspace.name"], name=op.f("fk_operation_workspace_workspace")
        ),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_operation")),
        sa.UniqueConstraint("id", name=op.f("uq_operation_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_operation_state"), "operation", ["state"])
    op.create_index(
        op.f("ix_operation_workspace_resource_seq"),
        "operation",
        ["workspace", "resource", "seq"],
        unique=False,
    )
    op.create_index(op.f("ix_operation_workspace_seq"), "operation", ["workspace", "seq"])
    op.create_table(
        "operation_line",
        sa.Column("operation", COUNT, nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("time", TIME, nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["operation"],
            ["operation.seq"],
            name=op.f("fk_operation_line_operation_operation"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("operation", "sequence", name=op.f("pk_operation_line")),
    )
    op.create_table(
        "idempotency",
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column("principal", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("request_hash", sa.Text(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["workspace"], ["workspace.name"], name=op.f("fk_idempotency_workspace_workspace")
        ),
        sa.PrimaryKeyConstraint("workspace", "principal", "key", name=op.f("pk_idempotency")),
    )
    op.create_index(op.f("ix_idempotency_created_at"), "idempotency", ["created_at"])


def _create_models() -> None:
    op.create_table(
        "model",
        sa.Column(
            "seq",
            COUNT,
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column(
            "format",
            one_of(
                "format",
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
            ),
            nullable=False,
        ),
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
        sqlite_autoincrement=True,
    )
    op.create_index(
        op.f("ix_model_workspace_framework_seq"),
        "model",
        ["workspace", "framework", "seq"],
        unique=False,
    )
    op.create_index(op.f("ix_model_workspace_name_seq"), "model", ["workspace", "name", "seq"])
    op.create_index(op.f("ix_model_workspace_seq"), "model", ["workspace", "seq"])
    op.create_table(
        "model_file",
        sa.Column("model", COUNT, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("digest", DIGEST, nullable=False),
        sa.Column("size", COUNT, nullable=False),
        sa.ForeignKeyConstraint(
            ["digest"], ["blob.digest"], name=op.f("fk_model_file_digest_blob")
        ),
        sa.ForeignKeyConstraint(
            ["model"], ["model.seq"], name=op.f("fk_model_file_model_model"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("model", "position", name=op.f("pk_model_file")),
        sa.UniqueConstraint("model", "path", name=op.f("uq_model_file_model_path")),
    )
    op.create_index(op.f("ix_model_file_digest"), "model_file", ["digest"])
    op.create_table(
        "model_label",
        sa.Column("owner", COUNT, nullable=False),
        sa.Column(
            "kind",
            one_of("kind", "tag", "property"),
            nullable=False,
        ),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["owner"], ["model.seq"], name=op.f("fk_model_label_owner_model"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["workspace"], ["workspace.name"], name=op.f("fk_model_label_workspace_workspace")
        ),
        sa.PrimaryKeyConstraint("owner", "kind", "key", name=op.f("pk_model_label")),
    )
    op.create_index(
        op.f("ix_model_label_workspace_kind_key_owner"),
        "model_label",
        ["workspace", "kind", "key", "owner"],
        unique=False,
    )
    op.create_index(
        op.f("ix_model_label_workspace_kind_key_value_owner"),
        "model_label",
        ["workspace", "kind", "key", "value", "owner"],
        unique=False,
    )


def _create_images() -> None:
    op.create_table(
        "image",
        sa.Column(
            "seq",
            COUNT,
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column(
            "state",
            one_of("state", "Running", "Succeeded", "Failed"),
            nullable=False,
        ),
        sa.Column("inputs", sa.Text(), nullable=False),
        sa.Column("digest", DIGEST, nullable=True),
        sa.Column("manifest", sa.Text(), nullable=True),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("packages", sa.Text(), nullable=False),
        sa.Column("report", sa.Text(), nullable=True),
        sa.Column("cause", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("operation", sa.Uuid(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.CheckConstraint("version >= 1", name=op.f("ck_image_version")),
        sa.ForeignKeyConstraint(
            ["operation"], ["operation.id"], name=op.f("fk_image_operation_operation")
        ),
        sa.ForeignKeyConstraint(
            ["workspace"], ["workspace.name"], name=op.f("fk_image_workspace_workspace")
        ),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_image")),
        sa.UniqueConstraint("id", name=op.f("uq_image_id")),
        sa.UniqueConstraint(
            "workspace", "name", "version", name=op.f("uq_image_workspace_name_version")
        ),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_image_operation"), "image", ["operation"])
    op.create_index(op.f("ix_image_state"), "image", ["state"])
    op.create_index(op.f("ix_image_workspace_inputs"), "image", ["workspace", "inputs"])
    op.create_index(op.f("ix_image_workspace_name_seq"), "image", ["workspace", "name", "seq"])
    op.create_index(op.f("ix_image_workspace_seq"), "image", ["workspace", "seq"])
    op.create_table(
        "image_model",
        sa.Column("image", COUNT, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("model", COUNT, nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["image"], ["image.seq"], name=op.f("fk_image_model_image_image"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["model"], ["model.seq"], name=op.f("fk_image_model_model_model")),
        sa.PrimaryKeyConstraint("image", "position", name=op.f("pk_image_model")),
    )
    op.create_index(op.f("ix_image_model_model"), "image_model", ["model"])
    op.create_index(
        op.f("ix_image_model_name_version_image"),
        "image_model",
        ["name", "version", "image"],
        unique=False,
    )
    op.create_table(
        "image_file",
        sa.Column("image", COUNT, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("digest", DIGEST, nullable=False),
        sa.ForeignKeyConstraint(
            ["digest"], ["blob.digest"], name=op.f("fk_image_file_digest_blob")
        ),
        sa.ForeignKeyConstraint(
            ["image"], ["image.seq"], name=op.f("fk_image_file_image_image"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("image", "position", name=op.f("pk_image_file")),
    )
    op.create_index(op.f("ix_image_file_digest"), "image_file", ["digest"])
    op.create_table(
        "image_layer",
        sa.Column("image", COUNT, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column(
            "kind",
            one_of("kind", "environment", "runtime", "code", "model"),
            nullable=False,
        ),
        sa.Column("digest", DIGEST, nullable=False),
        sa.ForeignKeyConstraint(
            ["digest"], ["blob.digest"], name=op.f("fk_image_layer_digest_blob")
        ),
        sa.ForeignKeyConstraint(
            ["image"], ["image.seq"], name=op.f("fk_image_layer_image_image"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("image", "position", name=op.f("pk_image_layer")),
    )
    op.create_index(op.f("ix_image_layer_digest"), "image_layer", ["digest"])
    op.create_table(
        "image_label",
        sa.Column("owner", COUNT, nullable=False),
        sa.Column(
            "kind",
            one_of("kind", "tag", "property"),
            nullable=False,
        ),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["owner"], ["image.seq"], name=op.f("fk_image_label_owner_image"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["workspace"], ["workspace.name"], name=op.f("fk_image_label_workspace_workspace")
        ),
        sa.PrimaryKeyConstraint("owner", "kind", "key", name=op.f("pk_image_label")),
    )
    op.create_index(
        op.f("ix_image_label_workspace_kind_key_owner"),
        "image_label",
        ["workspace", "kind", "key", "owner"],
        unique=False,
    )
    op.create_index(
        op.f("ix_image_label_workspace_kind_key_value_owner"),
        "image_label",
        ["workspace", "kind", "key", "value", "owner"],
        unique=False,
    )


def _create_services() -> None:
    op.create_table(
        "service",
        sa.Column(
            "seq",
            COUNT,
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.Column("image", COUNT, nullable=False),
        sa.Column("settings", sa.Text(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("deleting", sa.Boolean(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("log_lines", COUNT, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["agent"], ["agent.name"], name=op.f("fk_service_agent_agent")),
        sa.ForeignKeyConstraint(["image"], ["image.seq"], name=op.f("fk_service_image_image")),
        sa.ForeignKeyConstraint(
            ["workspace"], ["workspace.name"], name=op.f("fk_service_workspace_workspace")
        ),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_service")),
        sa.UniqueConstraint("id", name=op.f("uq_service_id")),
        sa.UniqueConstraint("workspace", "name", name=op.f("uq_service_workspace_name")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_service_agent"), "service", ["agent"])
    op.create_index(op.f("ix_service_image"), "service", ["image"])
    op.create_index(op.f("ix_service_workspace_seq"), "service", ["workspace", "seq"])
    op.create_table(
        "deployment",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("service", COUNT, nullable=False),
        sa.Column("image", COUNT, nullable=False),
        sa.Column("settings", sa.Text(), nullable=False),
        sa.Column("weight", sa.Integer(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.CheckConstraint("weight BETWEEN 0 AND 100", name=op.f("ck_deployment_weight")),
        sa.ForeignKeyConstraint(["image"], ["image.seq"], name=op.f("fk_deployment_image_image")),
        sa.ForeignKeyConstraint(
            ["service"],
            ["service.seq"],
            name=op.f("fk_deployment_service_service"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deployment")),
    )
    op.create_index(op.f("ix_deployment_image"), "deployment", ["image"])
    op.create_index(op.f("ix_deployment_service"), "deployment", ["service"])
    op.create_table(
        "service_key",
        sa.Column("service", COUNT, nullable=False),
        sa.Column(
            "slot",
            one_of("slot", "primary", "secondary"),
            nullable=False,
        ),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["service"],
            ["service.seq"],
            name=op.f("fk_service_key_service_service"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("service", "slot", name=op.f("pk_service_key")),
        sa.UniqueConstraint("key_id", name=op.f("uq_service_key_key_id")),
    )
    op.create_table(
        "service_label",
        sa.Column("owner", COUNT, nullable=False),
        sa.Column(
            "kind",
            one_of("kind", "tag", "property"),
            nullable=False,
        ),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("workspace", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["owner"],
            ["service.seq"],
            name=op.f("fk_service_label_owner_service"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["workspace"], ["workspace.name"], name=op.f("fk_service_label_workspace_workspace")
        ),
        sa.PrimaryKeyConstraint("owner", "kind", "key", name=op.f("pk_service_label")),
    )
    op.create_index(
        op.f("ix_service_label_workspace_kind_key_owner"),
        "service_label",
        ["workspace", "kind", "key", "owner"],
        unique=False,
    )
    op.create_index(
        op.f("ix_service_label_workspace_kind_key_value_owner"),
        "service_label",
        ["workspace", "kind", "key", "value", "owner"],
        unique=False,
    )


def _create_logs() -> None:
    op.create_table(
        "log_stream",
        sa.Column(
            "seq",
            COUNT,
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("service", COUNT, nullable=False),
        sa.Column("replica", sa.Text(), nullable=False),
        sa.Column("epoch", COUNT, nullable=False),
        sa.Column("next", COUNT, nullable=False),
        sa.Column("kept", COUNT, nullable=False),
        sa.Column("dropped", COUNT, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["service"],
            ["service.seq"],
            name=op.f("fk_log_stream_service_service"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_log_stream")),
        sa.UniqueConstraint("service", "replica", name=op.f("uq_log_stream_service_replica")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "log_piece",
        sa.Column("service", COUNT, nullable=False),
        sa.Column("first", COUNT, nullable=False),
        sa.Column("lines", sa.Integer(), nullable=False),
        sa.Column("stream", COUNT, nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("time", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["service"],
            ["service.seq"],
            name=op.f("fk_log_piece_service_service"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["stream"],
            ["log_stream.seq"],
            name=op.f("fk_log_piece_stream_log_stream"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("service", "first", name=op.f("pk_log_piece")),
    )
    op.create_index(op.f("ix_log_piece_stream_first"), "log_piece", ["stream", "first"])
