"""Each text's vector once a namespace in the index: a thousand equal ones would break its graph up.

What is stored already is marked here, then the vector indexes are built anew, which takes minutes for a million rows.
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

DIMS = (384, 512, 768)


def upgrade() -> None:
    _drop_vectors()
    op.add_column("cache_entities", sa.Column("is_copy", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.create_index("ix_cache_entities_text", "cache_entities", ["namespace_id", "text", "id"])
    op.execute(
        "UPDATE cache_entities AS row SET is_copy = true WHERE EXISTS (SELECT 1 FROM cache_entities AS first WHERE "
        "first.namespace_id = row.namespace_id AND first.text = row.text AND first.embedding = row.embedding "
        "AND first.id < row.id)"
    )
    op.drop_index("ix_cache_entities_namespace", "cache_entities")
    op.create_index(
        "ix_cache_entities_namespace", "cache_entities", ["namespace_id"], postgresql_where=sa.text("NOT is_copy")
    )
    _create_vectors("dims = {dims} AND NOT is_copy")


def downgrade() -> None:
    _drop_vectors()
    op.drop_index("ix_cache_entities_namespace", "cache_entities")
    op.create_index("ix_cache_entities_namespace", "cache_entities", ["namespace_id"])
    op.drop_index("ix_cache_entities_text", "cache_entities")
    op.drop_column("cache_entities", "is_copy")
    _create_vectors("dims = {dims}")


def _drop_vectors() -> None:
    for dims in DIMS:
        op.drop_index(f"ix_cache_entities_hnsw_{dims}", "cache_entities")


def _create_vectors(where: str) -> None:
    for dims in DIMS:
        op.create_index(
            f"ix_cache_entities_hnsw_{dims}",
            "cache_entities",
            [sa.literal_column(f"(embedding::halfvec({dims}))").label("embedding")],
            postgresql_using="hnsw",
            postgresql_ops={"embedding": "halfvec_cosine_ops"},
            postgresql_where=sa.text(where.format(dims=dims)),
        )
