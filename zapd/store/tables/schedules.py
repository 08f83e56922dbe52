"""What happens by the clock."""

from sqlalchemy import BigInteger, Boolean, Column, Integer, LargeBinary, Table, Text

from zapd.store.tables.schema import BODY, metadata

# What happens by the clock. `last_slot`: every slot up to it has been dealt with.
schedules = Table(
    "schedules",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("spec", LargeBinary, nullable=False),  # JSON: when, and what it fires
    Column("source", Text, nullable=False),
    Column("paused", Boolean, nullable=False),
    Column("last_slot", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("fires", Integer, nullable=False),
    Column("last_fired_at", BigInteger),
    Column("last_made", Text),
    Column("payload", LargeBinary, info=BODY),  # JSON; it may name people. null: in `spec`, from before it was apart
)

cron_fires = Table(
    "cron_fires",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("slot", BigInteger, primary_key=True),
    Column("fired_at", BigInteger, nullable=False),
)
