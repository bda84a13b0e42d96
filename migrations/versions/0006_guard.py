"""Checks of the guard."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "guard_checks",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("namespace_id", sa.Uuid(), nullable=False),
        sa.Column("namespace_key", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("similarity", sa.Float(), nullable=False),
        sa.Column("is_refused", sa.Boolean(), nullable=False),
        sa.Column("status", sa.Text(), server_default="waiting", nullable=False),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("num_starts", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("judge", sa.Text(), nullable=True),
        sa.Column("fast_score", sa.Float(), nullable=True),
        sa.Column("full_score", sa.Float(), nullable=True),
        sa.Column("loss", sa.Float(), nullable=True),
        sa.Column("seconds", sa.Float(), server_default="0", nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("status IN ('waiting', 'running', 'done', 'lost')", name="ck_guard_checks_status"),
        sa.CheckConstraint("(status = 'done') = (loss IS NOT NULL)", name="ck_guard_checks_loss"),
        sa.ForeignKeyConstraint(["namespace_id"], ["namespaces.id"], name="fk_guard_checks_namespace_id"),
        sa.PrimaryKeyConstraint("id", name="pk_guard_checks"),
        sa.UniqueConstraint("job_id", name="uq_guard_checks_job_id"),
    )
    op.create_index("ix_guard_checks_case", "guard_checks", ["namespace_key", "kind", "id"], unique=False)
    open_ = sa.text("status IN ('waiting', 'running')")
    op.create_index("ix_guard_checks_open", "guard_checks", ["status"], unique=False, postgresql_where=open_)


def downgrade() -> None:
    op.drop_table("guard_checks")
