"""An index of the deliveries that are not delivered: few, and counted every few seconds for the metrics."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the index."""
    undelivered = sa.text("state <> 'delivered'")
    op.create_index(
        "deliveries_undelivered",
        "deliveries",
        ["state"],
        sqlite_where=undelivered,
        postgresql_where=undelivered,
    )
