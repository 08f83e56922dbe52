"""Work that is to be done, or was given up."""

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, Table, Text, text

from zapd.store.tables.schema import BODY, metadata

#: Batches that have not ended.
OPEN = text("state = 'open'")
#: Jobs of batches that have not ended; used as ATTENTION is.
PENDING = text("state = 'pending'")
#: Outbox rows that hold a key.
UNIQUE = text("unique_key IS NOT NULL")

# Every unfinished job that SQL answers for. A row is written in the transaction that makes the work and goes when
# the job has finished; Redis can be rebuilt from it.
outbox = Table(
    "outbox",
    metadata,
    Column("id", Text, primary_key=True),  # the job's id; before the tenant, because the relay reads in its order
    Column("tenant", Text, primary_key=True),
    Column("queue", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("lane", Text, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("due_at", BigInteger, nullable=False),
    Column("payload", LargeBinary, nullable=False, info=BODY),
    Column("created_at", BigInteger, nullable=False),
    Column("unique_key", Text),  # no second job of the queue with it, as long as this row is here
    Column("unique_until", BigInteger),  # after this (ms) the key is free though the job lives
    Index("outbox_unique", "tenant", "queue", "unique_key", unique=True, sqlite_where=UNIQUE),
)

# Jobs that were given up, with all that is needed to run them again.
dead_letters = Table(
    "dead_letters",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("queue", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("lane", Text, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("payload", LargeBinary, nullable=False, info=BODY),
    Column("reason", Text, nullable=False),
    Column("error", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("crashes", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("died_at", BigInteger, nullable=False),
    Index("dead_letters_age", "tenant", "died_at", "id"),
    Index("dead_letters_id", "tenant", "id"),
)

# Jobs that belong together: a batch, whose jobs run side by side, or a chain, one after the other.
batches = Table(
    "batches",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("total", Integer, nullable=False),
    Column("succeeded", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("callback", LargeBinary, info=BODY),  # JSON
    Column("callback_job", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Index("batches_open", "state", "id", sqlite_where=OPEN),
)

batch_jobs = Table(
    "batch_jobs",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("batch_id", Text, primary_key=True),
    Column("job_id", Text, primary_key=True),
    Column("position", Integer, nullable=False),
    Column("queue", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("spec", LargeBinary, info=BODY),  # JSON of a step that is not a job yet
    Column("result", LargeBinary, info=BODY),  # JSON
    Column("error", Text),
    Column("ended_at", BigInteger),
    Index("batch_jobs_order", "tenant", "batch_id", "position", unique=True),
    Index("batch_jobs_pending", "tenant", "batch_id", sqlite_where=PENDING),
)
