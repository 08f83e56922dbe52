"""What endpoints may ask for beside types; a number without gaps for each endpoint's deliveries; batches and order."""

import sqlalchemy as sa
from alembic import op

from zapd.store.tables import SEQ_TRIGGERS

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Add the columns; number the deliveries that are there; let new ones be numbered."""
    op.add_column("endpoints", sa.Column("options", sa.Text))
    op.add_column("endpoints", sa.Column("failures", sa.Integer, nullable=False, server_default="0"))
    op.add_column("endpoints", sa.Column("failing_since", sa.BigInteger))
    op.add_column("endpoints", sa.Column("alerted", sa.Integer, nullable=False, server_default="0"))
    op.create_table(
        "endpoint_seqs",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("endpoint_id", sa.Text, primary_key=True),
        sa.Column("last", sa.BigInteger, nullable=False),
    )
    op.add_column("deliveries", sa.Column("seq", sa.BigInteger))
    op.add_column("deliveries", sa.Column("order_key", sa.Text))
    op.add_column("deliveries", sa.Column("batch_id", sa.Text))
    op.execute(
        "UPDATE deliveries SET seq = numbered.n FROM (SELECT tenant, id, row_number() OVER "
        "(PARTITION BY tenant, endpoint_id ORDER BY id) AS n FROM deliveries) AS numbered "
        "WHERE deliveries.tenant = numbered.tenant AND deliveries.id = numbered.id"
    )
    op.execute(
        "INSERT INTO endpoint_seqs (tenant, endpoint_id, last) "
        "SELECT tenant, endpoint_id, max(seq) FROM deliveries GROUP BY tenant, endpoint_id"
    )
    op.create_index("deliveries_seq", "deliveries", ["tenant", "endpoint_id", "seq"], unique=True)
    _partial("deliveries_order", ["tenant", "endpoint_id", "order_key", "id"], "order_key IS NOT NULL")
    _partial("deliveries_batch", ["tenant", "batch_id"], "batch_id IS NOT NULL")
    for statement in SEQ_TRIGGERS[op.get_bind().dialect.name]:
        op.execute(statement)


def _partial(name: str, columns: list[str], condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, "deliveries", columns, sqlite_where=where, postgresql_where=where)
