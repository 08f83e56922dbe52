"""What a target said to an action, apart from its error, so that it is sealed."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    """Make the column."""
    op.add_column("actions", sa.Column("answer", sa.LargeBinary()))
