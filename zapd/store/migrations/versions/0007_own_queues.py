"""Dead letters in SQL, so that losing Redis loses none; keys of unique jobs on the rows of the jobs; batches."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Make the table, the columns and their indexes."""
    op.create_table(
        "dead_letters",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("queue", sa.Text, primary_key=True),
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("lane", sa.Text, nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("crashes", sa.Integer, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("died_at", sa.BigInteger, nullable=False),
    )
    op.create_index("dead_letters_age", "dead_letters", ["tenant", "died_at", "id"])
    op.create_index("dead_letters_id", "dead_letters", ["tenant", "id"])
    _batches()
    op.add_column("outbox", sa.Column("unique_key", sa.Text))
    op.add_column("outbox", sa.Column("unique_until", sa.BigInteger))
    held = sa.text("unique_key IS NOT NULL")
    op.create_index(
        "outbox_unique",
        "outbox",
        ["tenant", "queue", "unique_key"],
        unique=True,
        sqlite_where=held,
        postgresql_where=held,
    )


def _batches() -> None:
    op.create_table(
        "batches",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("total", sa.Integer, nullable=False),
        sa.Column("succeeded", sa.Integer, nullable=False),
        sa.Column("failed", sa.Integer, nullable=False),
        sa.Column("callback", sa.LargeBinary),
        sa.Column("callback_job", sa.Text),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("ended_at", sa.BigInteger),
    )
    still_open = sa.text("state = 'open'")
    op.create_index("batches_open", "batches", ["state", "id"], sqlite_where=still_open, postgresql_where=still_open)
    op.create_table(
        "batch_jobs",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("batch_id", sa.Text, primary_key=True),
        sa.Column("job_id", sa.Text, primary_key=True),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("queue", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("spec", sa.LargeBinary),
        sa.Column("result", sa.LargeBinary),
        sa.Column("error", sa.Text),
        sa.Column("ended_at", sa.BigInteger),
    )
    op.create_index("batch_jobs_order", "batch_jobs", ["tenant", "batch_id", "position"], unique=True)
    pending = sa.text("state = 'pending'")
    op.create_index(
        "batch_jobs_pending", "batch_jobs", ["tenant", "batch_id"], sqlite_where=pending, postgresql_where=pending
    )
