"""How much of a shared namespace one tenant may use."""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("namespaces", sa.Column("tenant_share", sa.Float(), nullable=True))
    op.create_check_constraint(
        op.f("ck_namespaces_tenant_share"), "namespaces", "tenant_share > 0 AND tenant_share <= 1"
    )
    op.create_index(
        "ix_cache_entries_tenant",
        "cache_entries",
        ["namespace_id", "tenant"],
        postgresql_include=["num_bytes"],
        postgresql_where=sa.text("status <> 'gone'"),
    )


def downgrade() -> None:
    op.drop_index("ix_cache_entries_tenant", "cache_entries")
    op.drop_constraint(op.f("ck_namespaces_tenant_share"), "namespaces")
    op.drop_column("namespaces", "tenant_share")
