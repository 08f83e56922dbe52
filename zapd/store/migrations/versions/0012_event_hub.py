"""The event hub: definitions, events on their way through the routes, what came in, what is to be done."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Make the tables."""
    _definitions()
    _events()
    _actions()


def _text(*names: str, nullable: bool = False) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text(), nullable=nullable) for name in names]


def _times(*names: str, nullable: bool = False) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger(), nullable=nullable) for name in names]


def _definitions() -> None:
    op.create_table(
        "definitions",
        *_text("tenant", "kind", "name"),
        sa.Column("active", sa.Integer(), nullable=False),
        *_times("created_at", "updated_at"),
        sa.PrimaryKeyConstraint("tenant", "kind", "name"),
    )
    op.create_table(
        "definition_versions",
        *_text("tenant", "kind", "name"),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("given", sa.LargeBinary(), nullable=False),
        *_times("created_at"),
        sa.PrimaryKeyConstraint("tenant", "kind", "name", "version"),
    )


def _events() -> None:
    op.create_table(
        "event_states",
        *_text("tenant", "event_id", "progress", "type"),
        *_text("source", "cause", nullable=True),
        sa.Column("depth", sa.Integer(), nullable=False),
        sa.Column("run", sa.Integer(), nullable=False),
        *_times("due_at", "created_at", "occurred_at"),
        *_times("processed_at", nullable=True),
        *_text("error", nullable=True),
        sa.Column("trace", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "event_id"),
    )
    unprocessed = sa.text("progress <> 'done'")
    op.create_index(
        "event_states_unprocessed",
        "event_states",
        ["progress", "due_at"],
        sqlite_where=unprocessed,
        postgresql_where=unprocessed,
    )
    op.create_table(
        "inbound",
        *_text("tenant", "event_id", "source", "dedup"),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        *_text("content_type", "headers"),
        *_times("received_at"),
        sa.PrimaryKeyConstraint("tenant", "event_id"),
    )
    op.create_index("inbound_dedup", "inbound", ["tenant", "source", "dedup"], unique=True)
    op.create_table(
        "quarantine",
        *_text("tenant", "id", "source", "check", "detail"),
        *_times("size"),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        *_times("received_at"),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )
    op.create_index("quarantine_source", "quarantine", ["tenant", "source", "id"])


def _actions() -> None:
    op.create_table(
        "actions",
        *_text("tenant", "id", "event_id", "event_type"),
        sa.Column("run", sa.Integer(), nullable=False),
        *_text("route", "kind", "place", "state"),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        *_times("backoff", "due_at", "created_at"),
        sa.Column("attempts", sa.Integer(), nullable=False),
        *_times("finished_at", nullable=True),
        *_text("error", "result", nullable=True),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )
    op.create_index("actions_event", "actions", ["tenant", "event_id"])
    unfinished = sa.text("state <> 'done'")
    op.create_index(
        "actions_unfinished",
        "actions",
        ["state", "id"],
        sqlite_where=unfinished,
        postgresql_where=unfinished,
    )
