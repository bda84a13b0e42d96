"""Namespaces that had prompts tagged by spaCy, which found no more, have them read by the lexicon."""

from alembic import op

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("UPDATE namespaces SET settings = settings - 'extractor' WHERE settings ->> 'extractor' LIKE 'spacy%'")


def downgrade() -> None:
    """Leave the settings: which tagger they named is not kept, and none needs to be named."""
