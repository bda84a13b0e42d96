"""What a key has left of its new videos a minute, for all processes."""

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("minute_left", sa.Float(), nullable=True))
    op.add_column("api_keys", sa.Column("minute_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("api_keys", "minute_at")
    op.drop_column("api_keys", "minute_left")
