"""What a schedule fires with, apart from its times, so that it is sealed."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Make the column."""
    op.add_column("schedules", sa.Column("payload", sa.LargeBinary()))
