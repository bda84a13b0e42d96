"""What was foretold of a bulk run, to stand beside what came."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("batches", sa.Column("forecast", JSONB(), nullable=True))


def downgrade() -> None:
    op.drop_column("batches", "forecast")
