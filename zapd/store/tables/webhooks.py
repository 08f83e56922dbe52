"""Who wants events, and how each got there."""

from sqlalchemy import DDL, BigInteger, Boolean, Column, Index, Integer, LargeBinary, Table, Text, event, text

from zapd.store.tables.schema import BODY, metadata

_NUMBER = """
    INSERT INTO endpoint_seqs (tenant, endpoint_id, last) VALUES (NEW.tenant, NEW.endpoint_id, 1)
        ON CONFLICT (tenant, endpoint_id) DO UPDATE SET last = endpoint_seqs.last + 1;
    UPDATE deliveries
        SET seq = (SELECT last FROM endpoint_seqs WHERE tenant = NEW.tenant AND endpoint_id = NEW.endpoint_id)
        WHERE tenant = NEW.tenant AND id = NEW.id;
"""

#: By dialect: what makes a new delivery take its endpoint's next number. The migration uses them too.
SEQ_TRIGGERS = {
    "sqlite": (f"CREATE TRIGGER deliveries_number AFTER INSERT ON deliveries BEGIN {_NUMBER} END",),
    "postgresql": (
        f"CREATE FUNCTION zapd_number_delivery() RETURNS trigger AS $$ BEGIN {_NUMBER} RETURN NULL; END $$ "
        "LANGUAGE plpgsql",
        "CREATE TRIGGER deliveries_number AFTER INSERT ON deliveries FOR EACH ROW "
        "EXECUTE FUNCTION zapd_number_delivery()",
    ),
}

#: Deliveries that somebody waits for or must look at; used as ATTENTION is.
UNDELIVERED = text("state <> 'delivered'")

endpoints = Table(
    "endpoints",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("url", Text, nullable=False),
    Column("types", Text, nullable=False),  # JSON list
    Column("connection_id", Text),
    Column("format", Text, nullable=False),
    Column("headers", LargeBinary, nullable=False),  # sealed JSON
    Column("secrets", LargeBinary, nullable=False),  # sealed JSON
    Column("enabled", Boolean, nullable=False),
    Column("disabled_reason", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("options", Text),  # JSON; null: none
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("failing_since", BigInteger),
    Column("alerted", Integer, nullable=False, server_default="0"),
)

# The newest `deliveries.seq` of each endpoint. Kept apart: the deliveries go by retention, and their numbers never
# come again.
endpoint_seqs = Table(
    "endpoint_seqs",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("endpoint_id", Text, primary_key=True),
    Column("last", BigInteger, nullable=False),
)

# Endpoints that are spared: until when (ms), the waits in a row, the failures in a row. Gone once it has recovered.
endpoint_waits = Table(
    "endpoint_waits",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("endpoint_id", Text, primary_key=True),
    Column("until", BigInteger, nullable=False),
    Column("waits", Integer, nullable=False),
    Column("failures", Integer, nullable=False),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("endpoint_id", Text, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("event_type", Text, nullable=False),
    Column("connection_id", Text),
    Column("message_id", Text),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("next_at", BigInteger),
    Column("finished_at", BigInteger),
    Column("last_status", Integer),
    Column("last_error", Text),
    Column("seq", BigInteger),  # by the trigger below
    Column("order_key", Text),
    Column("batch_id", Text),
    Index("deliveries_event", "tenant", "event_id", "endpoint_id", unique=True),
    Index("deliveries_seq", "tenant", "endpoint_id", "seq", unique=True),
    Index(
        "deliveries_order",
        "tenant",
        "endpoint_id",
        "order_key",
        "id",
        sqlite_where=text("order_key IS NOT NULL"),
    ),
    Index("deliveries_batch", "tenant", "batch_id", sqlite_where=text("batch_id IS NOT NULL")),
    Index("deliveries_endpoint", "tenant", "endpoint_id", "id"),
    Index("deliveries_undelivered", "state", sqlite_where=UNDELIVERED),
    Index(
        "deliveries_message",
        "tenant",
        "message_id",
        sqlite_where=text("message_id IS NOT NULL"),
    ),
)


# The number without gaps is given in the database and not by a statement of ours: rows that ON CONFLICT leaves out get
# none, and two daemons that insert at the same time wait for each other at the endpoint's row.
for _sql in SEQ_TRIGGERS["sqlite"]:
    event.listen(deliveries, "after_create", DDL(_sql).execute_if(dialect="sqlite"))  # type: ignore[no-untyped-call]


attempts = Table(
    "attempts",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("delivery_id", Text, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("started_at", BigInteger, nullable=False),
    Column("duration_ms", Integer, nullable=False),
    Column("phases", Text, nullable=False),  # JSON
    Column("status", Integer),
    Column("response", LargeBinary, nullable=False, info=BODY),
    Column("failure", Text),
    Column("owner", Text),
    Column("error", Text),
)
