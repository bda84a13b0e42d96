"""Matches that an operator found wrong: the pair is never matched again, and the figures of the attempt say so."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "vetoes",
        sa.Column("id", sa.BigInteger(), sa.Identity(), primary_key=True),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("namespace_id", sa.Uuid(), sa.ForeignKey("namespaces.id"), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("donor_text", sa.Text(), nullable=False),
        sa.Column("entry_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.UniqueConstraint("job_id", "text", "entry_id", name="uq_vetoes_job_id_text_entry_id"),
    )
    op.create_index("ix_vetoes_pair", "vetoes", ["namespace_id", "text"])
    op.add_column("job_metrics", sa.Column("wrong_match", sa.Boolean(), server_default=sa.false(), nullable=False))


def downgrade() -> None:
    op.drop_column("job_metrics", "wrong_match")
    op.drop_table("vetoes")
