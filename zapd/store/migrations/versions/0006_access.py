"""A pace of its own for an API key."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the column."""
    op.add_column("api_keys", sa.Column("rate_per_minute", sa.Integer))
