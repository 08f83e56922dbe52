"""Contacts with their aliases; whom each connection wrote to; how WhatsApp spells numbers; the pace of a connection."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Make the tables and the columns."""
    op.create_table(
        "contacts",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text()),
        sa.Column("opted_out_at", sa.BigInteger()),
        sa.Column("opted_out_by", sa.Text()),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )
    op.create_table(
        "contact_aliases",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("contact_id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "kind", "value"),
    )
    op.create_index("contact_aliases_contact", "contact_aliases", ["tenant", "contact_id"])
    op.create_table(
        "peers",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("connection_id", sa.Text(), nullable=False),
        sa.Column("peer", sa.Text(), nullable=False),
        sa.Column("first_out_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "connection_id", "peer"),
    )
    op.create_index("peers_new", "peers", ["tenant", "connection_id", "first_out_at"])
    op.create_table(
        "numbers",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("connection_id", sa.Text(), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("peer", sa.Text()),
        sa.Column("resolved_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "connection_id", "number"),
    )
    op.add_column("connections", sa.Column("limits", sa.Text()))
    op.add_column("connections", sa.Column("new_contacts_until", sa.BigInteger()))
