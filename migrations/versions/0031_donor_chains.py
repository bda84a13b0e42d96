"""How many fast runs lie between an entry and a full run."""

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("cache_entries", sa.Column("chain", sa.SmallInteger(), server_default="0", nullable=False))


def downgrade() -> None:
    op.drop_column("cache_entries", "chain")
