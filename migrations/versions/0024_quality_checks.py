"""One name for the quality monitor: its table, and what it wrote into plans."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

OLD, NEW = "guard", "monitor"
TABLES = ("guard_checks", "quality_checks")


def upgrade() -> None:
    _rename(*TABLES)
    _reword(OLD, NEW)


def downgrade() -> None:
    _reword(NEW, OLD)
    _rename(*reversed(TABLES))


def _rename(old: str, new: str) -> None:
    op.rename_table(old, new)
    op.execute(f"ALTER SEQUENCE {old}_id_seq RENAME TO {new}_id_seq")
    bind = op.get_bind()
    constraints = sa.text("SELECT conname FROM pg_constraint WHERE conrelid = CAST(:table AS regclass)")
    for (name,) in bind.execute(constraints, {"table": new}).all():
        if old in name:
            op.execute(f"ALTER TABLE {new} RENAME CONSTRAINT {name} TO {name.replace(old, new)}")
    indexes = sa.text("SELECT indexname FROM pg_indexes WHERE tablename = :table")
    for (name,) in bind.execute(indexes, {"table": new}).all():
        if old in name:
            op.execute(f"ALTER INDEX {name} RENAME TO {name.replace(old, new)}")


def _reword(old: str, new: str) -> None:
    """Change who set a threshold: in stored plans, and in the decisions whose checks are still open."""
    source = {"old": f'"source": "{old}"', "new": f'"source": "{new}"'}
    moves = {"before": old, "after": new}
    op.execute(
        sa.text(
            "UPDATE plans SET plan = replace(plan::text, :old, :new)::jsonb, quality = "
            "CASE WHEN quality ? :before THEN (quality - :before) || jsonb_build_object(:after, quality -> :before) "
            "ELSE quality END WHERE plan::text LIKE '%' || :old || '%' OR quality ? :before"
        ).bindparams(**source, **moves)
    )
    op.execute(
        sa.text(
            "UPDATE lookups SET settings = replace(settings::text, :old, :new)::jsonb, "
            "plan = replace(plan::text, :old, :new)::jsonb "
            "WHERE job_id IN (SELECT job_id FROM quality_checks WHERE status IN ('waiting', 'running'))"
        ).bindparams(**source)
    )
