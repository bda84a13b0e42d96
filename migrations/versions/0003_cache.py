"""The latent cache: namespaces, entries, entities, pins, events and calibrated plans."""

import sqlalchemy as sa
from alembic import op
from pgvector.sqlalchemy import Vector
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "namespaces",
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("identity", JSONB(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("dims", sa.Integer(), nullable=False),
        sa.Column("byte_budget", sa.BigInteger(), nullable=False),
        sa.Column("bytes_used", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("num_entities", sa.Integer(), server_default="0", nullable=False),
        sa.Column("policy", sa.Text(), server_default="lru", nullable=False),
        sa.Column("admission", sa.Text(), server_default="all", nullable=False),
        sa.Column("settings", JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("scope IN ('tenant', 'group', 'shared')", name="ck_namespaces_scope"),
        sa.CheckConstraint("bytes_used >= 0 AND bytes_used <= byte_budget", name="ck_namespaces_budget"),
        sa.PrimaryKeyConstraint("id", name="pk_namespaces"),
        sa.UniqueConstraint("fingerprint", name="uq_namespaces_fingerprint"),
    )
    op.create_table(
        "cache_entries",
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("namespace_id", sa.Uuid(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("donor_job_id", sa.Uuid(), nullable=False),
        sa.Column("donor_fence", sa.BigInteger(), nullable=False),
        sa.Column("prompt", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("num_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=True),
        sa.Column("schema_version", sa.Integer(), nullable=False),
        sa.Column("tensors", JSONB(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("full_seconds", sa.Float(), nullable=False),
        sa.Column("status", sa.Text(), server_default="writing", nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "status IN ('writing', 'resident', 'evicting', 'quarantined', 'gone')", name="ck_cache_entries_status"
        ),
        sa.CheckConstraint("num_bytes > 0", name="ck_cache_entries_num_bytes"),
        sa.ForeignKeyConstraint(["namespace_id"], ["namespaces.id"], name="fk_cache_entries_namespace_id"),
        sa.PrimaryKeyConstraint("id", name="pk_cache_entries"),
        sa.UniqueConstraint("donor_job_id", "donor_fence", name="uq_cache_entries_donor_job_id_donor_fence"),
        sa.UniqueConstraint("name", name="uq_cache_entries_name"),
    )
    op.create_index("ix_cache_entries_donor_job_id", "cache_entries", ["donor_job_id"], unique=False)
    op.create_index("ix_cache_entries_namespace_status", "cache_entries", ["namespace_id", "status"], unique=False)
    op.create_table(
        "cache_entities",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("entry_id", sa.Uuid(), nullable=False),
        sa.Column("namespace_id", sa.Uuid(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("head", sa.Text(), nullable=False),
        sa.Column("attributes", ARRAY(sa.Text()), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("dims", sa.Integer(), nullable=False),
        sa.Column("embedding", Vector(), nullable=False),
        sa.ForeignKeyConstraint(
            ["entry_id"], ["cache_entries.id"], name="fk_cache_entities_entry_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["namespace_id"], ["namespaces.id"], name="fk_cache_entities_namespace_id"),
        sa.PrimaryKeyConstraint("id", name="pk_cache_entities"),
    )
    op.create_index("ix_cache_entities_namespace", "cache_entities", ["namespace_id"], unique=False)
    op.create_index("ix_cache_entities_entry", "cache_entities", ["entry_id"], unique=False)
    op.create_index(
        "ix_cache_entities_hnsw_384",
        "cache_entities",
        [sa.literal_column("(embedding::halfvec(384))").label("embedding")],
        unique=False,
        postgresql_using="hnsw",
        postgresql_ops={"embedding": "halfvec_cosine_ops"},
        postgresql_where=sa.text("dims = 384"),
    )
    op.create_index(
        "ix_cache_entities_hnsw_512",
        "cache_entities",
        [sa.literal_column("(embedding::halfvec(512))").label("embedding")],
        unique=False,
        postgresql_using="hnsw",
        postgresql_ops={"embedding": "halfvec_cosine_ops"},
        postgresql_where=sa.text("dims = 512"),
    )
    op.create_index(
        "ix_cache_entities_hnsw_768",
        "cache_entities",
        [sa.literal_column("(embedding::halfvec(768))").label("embedding")],
        unique=False,
        postgresql_using="hnsw",
        postgresql_ops={"embedding": "halfvec_cosine_ops"},
        postgresql_where=sa.text("dims = 768"),
    )
    op.create_table(
        "cache_pins",
        sa.Column("entry_id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["entry_id"], ["cache_entries.id"], name="fk_cache_pins_entry_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_cache_pins_job_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("entry_id", "job_id", "fence", name="pk_cache_pins"),
    )
    op.create_table(
        "cache_events",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("namespace_id", sa.Uuid(), nullable=False),
        sa.Column("entry_id", sa.Uuid(), nullable=True),
        sa.Column("job_id", sa.Uuid(), nullable=True),
        sa.Column("fence", sa.BigInteger(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("num_bytes", sa.BigInteger(), nullable=False),
        sa.Column("policy", sa.Text(), nullable=True),
        sa.Column("detail", JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("kind IN ('insert', 'hit', 'evict', 'quarantine', 'refuse')", name="ck_cache_events_kind"),
        sa.ForeignKeyConstraint(["namespace_id"], ["namespaces.id"], name="fk_cache_events_namespace_id"),
        sa.PrimaryKeyConstraint("id", name="pk_cache_events"),
    )
    op.create_index("ix_cache_events_entry", "cache_events", ["entry_id"], unique=False)
    op.create_index("ix_cache_events_namespace", "cache_events", ["namespace_id", "id"], unique=False)
    op.create_table(
        "plans",
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("namespace_key", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("plan", JSONB(), nullable=False),
        sa.Column("quality", JSONB(), nullable=False),
        sa.Column("cost", JSONB(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_plans"),
        sa.UniqueConstraint("namespace_key", "kind", name="uq_plans_namespace_key_kind"),
    )


def downgrade() -> None:
    op.drop_table("plans")
    op.drop_table("cache_events")
    op.drop_table("cache_pins")
    op.drop_table("cache_entities")
    op.drop_table("cache_entries")
    op.drop_table("namespaces")
