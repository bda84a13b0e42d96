"""What sieve, s3fifo and random go by, in rows and indexes too: no worker reads the history before it evicts.

Entries that are there start as if the policy were new: those that were used carry a mark, all are in the small queue.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

ORDERS = {"sieve": ("sieve_round", "published_at", "id"), "s3fifo": ("queue", "queue_place"), "random": ("lot",)}
_COUNTERS: dict[str, type[sa.Integer]] = {
    "sieve_round": sa.Integer,
    "queue": sa.SmallInteger,
    "queue_uses": sa.SmallInteger,
    "queue_place": sa.BigInteger,
}
OF_NAMESPACES = ("sieve_round", "sieve_at", "sieve_id", "queues")


def upgrade() -> None:
    for name, kind in _COUNTERS.items():
        op.add_column("cache_entries", sa.Column(name, kind(), server_default="0", nullable=False))
    lot = sa.Column("lot", sa.Uuid(), sa.Computed("md5(id::text)::uuid", persisted=True), nullable=False)
    op.add_column("cache_entries", lot)
    op.add_column("namespaces", sa.Column("sieve_round", sa.Integer(), server_default="0", nullable=False))
    op.add_column("namespaces", sa.Column("sieve_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("namespaces", sa.Column("sieve_id", sa.Uuid(), nullable=True))
    op.add_column("namespaces", sa.Column("queues", JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False))
    op.create_table(
        "cache_ghosts",
        sa.Column("namespace_id", sa.Uuid(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("place", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["namespace_id"], ["namespaces.id"], name="fk_cache_ghosts_namespace_id"),
        sa.PrimaryKeyConstraint("namespace_id", "text", "place", name="pk_cache_ghosts"),
    )
    op.create_index("ix_cache_ghosts_place", "cache_ghosts", ["namespace_id", "place"])
    op.execute(
        "UPDATE cache_entries SET sieve_round = least(hits, 1), queue_uses = least(hits, 3), "
        "queue_place = placed.place FROM (SELECT id, row_number() OVER (PARTITION BY namespace_id "
        "ORDER BY published_at, id) AS place FROM cache_entries WHERE status = 'resident') AS placed "
        "WHERE placed.id = cache_entries.id"
    )
    op.execute(
        "UPDATE namespaces SET queues = jsonb_build_object('next', held.number + 1, 'small_bytes', held.bytes) FROM "
        "(SELECT namespace_id, count(*) AS number, sum(num_bytes)::bigint AS bytes FROM cache_entries "
        "WHERE status = 'resident' GROUP BY namespace_id) AS held WHERE held.namespace_id = namespaces.id"
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
    op.drop_table("cache_ghosts")
    for name in OF_NAMESPACES:
        op.drop_column("namespaces", name)
    for name in (*_COUNTERS, "lot"):
        op.drop_column("cache_entries", name)
