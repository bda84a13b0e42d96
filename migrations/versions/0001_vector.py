"""Vectors: the only extension that the service needs."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE EXTENSION IF NOT EXISTS vector")


def downgrade() -> None:
    # One that a superuser added, as the embedded server does for each database, is not the service's to take away.
    op.execute("""
        DO $$ BEGIN
            IF EXISTS (SELECT FROM pg_extension WHERE extname = 'vector' AND pg_has_role(extowner, 'USAGE')) THEN
                DROP EXTENSION vector;
            END IF;
        END $$
    """)
