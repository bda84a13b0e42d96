"""What machines could not run is remembered apart from what broke, and the storage by an id."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("num_faults", sa.Integer(), server_default="0", nullable=False))
    op.add_column(
        "jobs",
        sa.Column("excluded", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
    )
    op.add_column("jobs", sa.Column("retry_at", sa.DateTime(timezone=True), nullable=True))
    op.create_table(
        "service_ids",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_service_ids")),
    )


def downgrade() -> None:
    op.drop_table("service_ids")
    for name in ("retry_at", "excluded", "num_faults"):
        op.drop_column("jobs", name)
