"""A text's vector in a row of its own, in half precision: entries come and go without touching the vector index.

Rows of entities name the text. Half precision keeps 512 numbers within the row: as floats they lie outside, and a scan
fetches each vector by itself. The signs of a vector's numbers, its code, stand in an index of their own that is scanned
whole. The vector indexes are built anew, which takes minutes for a million texts.
"""

import sqlalchemy as sa
from alembic import op
from pgvector.sqlalchemy import HALFVEC, Vector
from sqlalchemy.dialects.postgresql import BIT

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

DIMS = (384, 512, 768)


def upgrade() -> None:
    op.execute("SET LOCAL statement_timeout = 0")
    op.execute("SET LOCAL maintenance_work_mem = '1GB'")  # a graph that fits is built much faster
    _drop_vectors()
    op.drop_index("ix_cache_entities_namespace", "cache_entities")
    op.alter_column("cache_entities", "entry_id", existing_type=sa.Uuid(), nullable=True)
    op.alter_column(
        "cache_entities",
        "embedding",
        existing_type=Vector(),
        type_=HALFVEC(),
        postgresql_using="embedding::halfvec",
    )
    op.alter_column("cache_entities", "embedding", existing_type=HALFVEC(), nullable=True)
    op.execute(
        "INSERT INTO cache_entities (namespace_id, text, head, attributes, kind, dims, embedding) "
        "SELECT DISTINCT ON (namespace_id, text) namespace_id, text, '', '{}', 'vector', dims, embedding "
        "FROM cache_entities ORDER BY namespace_id, text, id"
    )
    op.execute("UPDATE cache_entities SET is_copy = true, embedding = NULL WHERE entry_id IS NOT NULL")
    op.create_index(
        "ix_cache_entities_vector",
        "cache_entities",
        ["namespace_id", "text"],
        postgresql_where=sa.text("NOT is_copy"),
    )
    op.add_column(
        "cache_entities",
        sa.Column("code", BIT(varying=True), sa.Computed("binary_quantize(embedding)", persisted=True), nullable=True),
    )
    op.create_index(
        "ix_cache_entities_code",
        "cache_entities",
        ["namespace_id"],
        postgresql_include=["id", "code"],
        postgresql_where=sa.text("NOT is_copy"),
    )
    _create_vectors()


def downgrade() -> None:
    _drop_vectors()
    op.drop_index("ix_cache_entities_code", "cache_entities")
    op.drop_column("cache_entities", "code")
    op.drop_index("ix_cache_entities_vector", "cache_entities")
    op.execute(
        "UPDATE cache_entities AS row SET embedding = stored.embedding FROM cache_entities AS stored WHERE "
        "row.embedding IS NULL AND NOT stored.is_copy AND stored.namespace_id = row.namespace_id "
        "AND stored.text = row.text"
    )
    op.execute("DELETE FROM cache_entities WHERE entry_id IS NULL")
    op.execute(
        "UPDATE cache_entities SET is_copy = false WHERE id IN "
        "(SELECT min(id) FROM cache_entities GROUP BY namespace_id, text HAVING bool_and(is_copy))"
    )
    op.alter_column(
        "cache_entities",
        "embedding",
        existing_type=HALFVEC(),
        type_=Vector(),
        postgresql_using="embedding::vector",
    )
    op.alter_column("cache_entities", "embedding", existing_type=Vector(), nullable=False)
    op.alter_column("cache_entities", "entry_id", existing_type=sa.Uuid(), nullable=False)
    op.create_index(
        "ix_cache_entities_namespace", "cache_entities", ["namespace_id"], postgresql_where=sa.text("NOT is_copy")
    )
    _create_vectors()


def _drop_vectors() -> None:
    for dims in DIMS:
        op.drop_index(f"ix_cache_entities_hnsw_{dims}", "cache_entities")


def _create_vectors() -> None:
    for dims in DIMS:
        op.create_index(
            f"ix_cache_entities_hnsw_{dims}",
            "cache_entities",
            [sa.literal_column(f"(embedding::halfvec({dims}))").label("embedding")],
            postgresql_using="hnsw",
            postgresql_ops={"embedding": "halfvec_cosine_ops"},
            postgresql_where=sa.text(f"dims = {dims} AND NOT is_copy"),
        )
