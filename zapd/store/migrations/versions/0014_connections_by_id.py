"""A provider's webhook names a connection by its id alone: found without a walk through all of them."""

from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Make the index."""
    op.create_index("connections_named", "connections", ["id"])
