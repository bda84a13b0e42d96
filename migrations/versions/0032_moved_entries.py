"""For which namespace the file of an entry was written that moved to another one since."""

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("cache_entries", sa.Column("written_for", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("cache_entries", "written_for")
