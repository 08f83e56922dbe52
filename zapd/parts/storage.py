"""The database, its writer and reader, and one store per aggregate."""

import os

from zapd.parts.basis import Basis, now_ms
from zapd.store.actions import ActionStore
from zapd.store.batches import BatchStore
from zapd.store.connections import ConnectionStore
from zapd.store.contacts import ContactStore, PeerStore
from zapd.store.conversations import ConversationStore
from zapd.store.credentials import CredentialStore
from zapd.store.database import Database
from zapd.store.dead_letters import DeadLetterStore
from zapd.store.definitions import DefinitionStore
from zapd.store.deliveries import DeliveryStore
from zapd.store.endpoint_waits import EndpointWaitStore
from zapd.store.endpoints import EndpointStore
from zapd.store.event_states import EventStateStore
from zapd.store.events import EventStore
from zapd.store.idempotency import IdempotencyStore
from zapd.store.inbox import InboxStore
from zapd.store.keys import KeyStore, TenantStore
from zapd.store.ledger import LedgerStore
from zapd.store.logins import LoginStore
from zapd.store.media import MediaStore
from zapd.store.messages import MessageStore
from zapd.store.metrics import StoreMetrics
from zapd.store.outbox import OutboxStore
from zapd.store.parked import ParkedStore
from zapd.store.purge import Purge
from zapd.store.quarantine import QuarantineStore
from zapd.store.reader import Reader
from zapd.store.schedules import ScheduleStore
from zapd.store.sealing import Sealing
from zapd.store.settings import SettingStore
from zapd.store.templates import TemplateStore
from zapd.store.turns import TurnStore
from zapd.store.vault import Vault, load_keys
from zapd.store.windows import WindowStore
from zapd.store.writer import Writer


class Storage:
    """Everything that speaks SQL."""

    def __init__(self, basis: Basis) -> None:
        config = basis.config
        self._sqlite = config.database_url.startswith("sqlite")
        metrics = StoreMetrics(registry=basis.registry)
        self.database = database = Database(url=config.database_url, metrics=metrics)
        self.data_keys = load_keys(config.data_key_file, random_bytes=os.urandom)
        self.vault = vault = Vault(keys=self.data_keys, random_bytes=os.urandom)
        self.sealing = database.sealing = Sealing(
            vault=vault,
            fetch=database.fetch_sealed,
            random_bytes=os.urandom,
            now_ms=now_ms,
            on=config.privacy.encrypt,
        )
        self.writer = Writer(database=database, metrics=metrics)
        self.reader = reader = Reader(database=database)
        self.tenants = TenantStore(database=database)
        self.keys = KeyStore(database=database, reader=reader)
        self.logins = LoginStore(reader=reader)
        self.connections = ConnectionStore(database=database, reader=reader, vault=vault)
        self.contacts = ContactStore(database=database, reader=reader)
        self.peers = PeerStore(database=database, reader=reader)
        self.credentials = CredentialStore(database=database, reader=reader, vault=vault)
        self.messages = MessageStore(database=database, reader=reader)
        self.parked = ParkedStore(database=database, reader=reader)
        self.conversations = ConversationStore(database=database, read=self.messages.of)
        self.events = EventStore(database=database, reader=reader)
        self.endpoints = EndpointStore(database=database, reader=reader, vault=vault)
        self.endpoint_waits = EndpointWaitStore(database=database)
        self.deliveries = DeliveryStore(database=database, reader=reader)
        self.outbox = OutboxStore(database=database, reader=reader)
        self.dead_letters = DeadLetterStore(database=database, reader=reader)
        self.batches = BatchStore(database=database, reader=reader)
        self.inbox = InboxStore(reader=reader, database=database)
        self.schedules = ScheduleStore(database=database, reader=reader)
        self.idempotency = IdempotencyStore(reader=reader)
        self.media = MediaStore(database=database, reader=reader)
        self.windows = WindowStore(reader=reader)
        self.turns = TurnStore(reader=reader)
        self.templates = TemplateStore(database=database, reader=reader)
        self.settings = SettingStore(reader=reader)
        self.definitions = DefinitionStore(database=database, vault=vault)
        self.event_states = EventStateStore(database=database, reader=reader)
        self.actions = ActionStore(database=database, reader=reader)
        self.quarantine = QuarantineStore(database=database, reader=reader, vault=vault)
        self.ledger = LedgerStore(database=database)
        self.purge = Purge(database=database, writer=self.writer)

    async def open(self) -> None:
        """Bring SQLite's schema up to date; on PostgreSQL that is `zapd migrate`. Raises ConfigError when it is old."""
        if self._sqlite:
            await self.database.migrate()
        await self.database.check_version()
        await self.sealing.load()
        self.sealing.check()
