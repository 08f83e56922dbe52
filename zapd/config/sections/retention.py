"""What is kept, and for how long."""

from typing import Annotated

from pydantic import Field

from zapd.config.sections.section import Positive, Section
from zapd.config.values import Duration


class RetentionConfig(Section):
    """How long finished things are kept. What is unfinished is never deleted."""

    messages: Positive = 90 * 86_400.0
    """Messages in a final state."""
    events: Positive = 30 * 86_400.0
    """Rows of the event log."""
    deliveries: Positive = 30 * 86_400.0
    """Finished webhook deliveries and their attempts."""
    event_states: Positive = 30 * 86_400.0
    """How events went through the routes, and why."""
    actions: Positive = 30 * 86_400.0
    """What routes and listeners did."""
    inbound: Positive = 30 * 86_400.0
    """Raw bodies of inbound webhooks; until then a repeat is recognised."""
    quarantine: Positive = 14 * 86_400.0
    """Inbound webhooks that were refused."""
    inbox: Positive = 7 * 86_400.0
    """Raw provider webhooks that were processed."""
    idempotency: Positive = 86_400.0
    """Answers kept for Idempotency-Key."""
    parked_receipts: Positive = 86_400.0
    """Receipts whose message never turned up."""
    sandbox_ledger: Positive = 7 * 86_400.0
    """The simulated network's record of what arrived."""
    batches: Positive = 30 * 86_400.0
    """Batches and chains that have ended, with the results of their jobs."""
    cron_fires: Positive = 30 * 86_400.0
    """Which cron slots have fired."""
    credentials: Positive = 30 * 86_400.0
    """Logins of accounts that were logged out or could not be read; the one in use stays."""
    logins: Positive = 12 * 3_600.0
    """Logins to the dashboard that nobody used meanwhile; after 7 days each asks for the key again."""
    media: Positive = 30 * 86_400.0
    """Files of messages, counted from their last use; one that a waiting message needs stays."""
    media_uploads: Annotated[Duration, Field(gt=0, le=29 * 86_400)] = 25 * 86_400.0
    """Ids of files that Meta holds for us; it drops them after 30 days."""
    peers: Positive = 365 * 86_400.0
    """Whom a session wrote to for the first time so long ago; they then count as new people, unless they wrote."""
    contacts: Annotated[Duration, Field(ge=2 * 86_400)] = 365 * 86_400.0
    """Contacts that nobody wrote to and who did not write for so long; one who wants no messages stays for ever."""
    numbers: Positive = 7 * 86_400.0
    """How WhatsApp spells numbers; then they are looked up again."""
    templates: Positive = 365 * 86_400.0
    """What Meta said of a template so long ago; then it is tried again."""
    turns: Positive = 86_400.0
    """Places of messages that waited for their turn with one person and ended otherwise."""
    completed_jobs: Positive = 3_600.0
    """Completed jobs in Redis, for a look at what just ran; at most 100 per queue."""
    dead_jobs: Positive = 7 * 86_400.0
    """Dead letters in Redis."""


class PrivacyConfig(Section):
    """Personal data: how it lies on the disk, and for how long (LGPD, GDPR)."""

    encrypt: bool = True
    """Whether bodies of messages, events, webhooks and their answers are encrypted at rest, under a key per tenant."""
    bodies: Positive = 90 * 86_400.0
    """How long bodies are kept after a message or event is done; "1h" keeps little more than what is under way."""
