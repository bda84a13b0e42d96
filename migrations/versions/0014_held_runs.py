"""Bulk runs that are paused, or wait for their window."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

BEFORE = "status IN ('open', 'in_progress', 'completed', 'cancelled')"
AFTER = "status IN ('open', 'in_progress', 'paused', 'completed', 'cancelled')"


def upgrade() -> None:
    op.add_column("batches", sa.Column("is_held", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.drop_constraint("ck_batches_status", "batches", type_="check")
    op.create_check_constraint("ck_batches_status", "batches", AFTER)


def downgrade() -> None:
    op.execute("UPDATE batches SET status = 'in_progress' WHERE status = 'paused'")
    op.drop_constraint("ck_batches_status", "batches", type_="check")
    op.create_check_constraint("ck_batches_status", "batches", BEFORE)
    op.drop_column("batches", "is_held")
