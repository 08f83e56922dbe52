"""Who wrote in a group, and when each contact wrote last."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Make them."""
    op.add_column("messages", sa.Column("sender", sa.Text(), nullable=True))
    op.create_table(
        "windows",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("connection_id", sa.Text(), nullable=False),
        sa.Column("peer", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "connection_id", "peer"),
    )
