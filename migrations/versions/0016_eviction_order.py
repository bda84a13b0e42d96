"""What eviction orders entries by, in their rows: an index gives the next to go, whoever asks.

Filled from the recorded events. Only the age that gdsf adds to later uses starts at zero: it follows from all evictions
of the past, and history may have been forgotten.
"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

ORDERS = {
    "fifo": ("published_at", "id"),
    "lru": ("last_used", "id"),
    "lfu": ("hits", "last_used", "id"),
    "lcbfu": ("use", "last_used", "id"),
    "gdsf": ("priority", "last_used", "id"),
}


def upgrade() -> None:
    for column in (
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used", sa.DateTime(timezone=True), nullable=True),
        sa.Column("hits", sa.Integer(), server_default="0", nullable=False),
        sa.Column("seconds_saved", sa.Float(), server_default="0", nullable=False),
        sa.Column("use", sa.Float(), server_default="0", nullable=False),
        sa.Column("priority", sa.Float(), server_default="0", nullable=False),
    ):
        op.add_column("cache_entries", column)
    op.add_column("namespaces", sa.Column("eviction_age", sa.Float(), server_default="0", nullable=False))
    op.execute(
        "UPDATE cache_entries SET published_at = made.at, last_used = made.last_used, hits = made.hits, "
        "seconds_saved = made.saved, use = (made.hits + 1) * made.saved, "
        "priority = (made.hits + 1) * (made.saved / num_bytes) FROM (SELECT entry_id, "
        "min(created_at) FILTER (WHERE kind = 'insert') AS at, max(created_at) AS last_used, "
        "count(*) FILTER (WHERE kind = 'hit') AS hits, "
        "coalesce(max((detail->>'seconds_saved')::float8) FILTER (WHERE kind = 'insert'), 0) AS saved "
        "FROM cache_events WHERE kind IN ('insert', 'hit') GROUP BY entry_id) AS made "
        "WHERE made.entry_id = cache_entries.id AND status = 'resident'"
    )
    for policy, columns in ORDERS.items():
        op.create_index(
            f"ix_cache_entries_{policy}",
            "cache_entries",
            ["namespace_id", *columns],
            postgresql_where=sa.text("status = 'resident'"),
        )


def downgrade() -> None:
    for policy in ORDERS:
        op.drop_index(f"ix_cache_entries_{policy}", "cache_entries")
    op.drop_column("namespaces", "eviction_age")
    for name in ("published_at", "last_used", "hits", "seconds_saved", "use", "priority"):
        op.drop_column("cache_entries", name)
