"""Which request made a file or a webhook, so that the same one again makes no second."""

import sqlalchemy as sa
from alembic import op

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None

TABLES = ("files", "webhooks")


def upgrade() -> None:
    for table in TABLES:
        op.add_column(table, sa.Column("idempotency_key", sa.Text(), nullable=True))
        op.add_column(table, sa.Column("request_hash", sa.Text(), nullable=True))
        op.create_unique_constraint(f"uq_{table}_tenant_idempotency_key", table, ["tenant", "idempotency_key"])


def downgrade() -> None:
    for table in TABLES:
        op.drop_constraint(f"uq_{table}_tenant_idempotency_key", table)
        op.drop_column(table, "request_hash")
        op.drop_column(table, "idempotency_key")
