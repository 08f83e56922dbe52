"""All of them together."""

from collections.abc import Mapping
from pathlib import Path

from zapd.config.hub import Defined
from zapd.config.queues import BUILT_IN, QueueConfig
from zapd.config.schedules import ScheduleConfig
from zapd.config.sections.hub import EmailConfig, EventsConfig
from zapd.config.sections.jobs import CronConfig, JobsConfig
from zapd.config.sections.process import DrainConfig, HttpConfig, LogConfig, StateConfig
from zapd.config.sections.retention import PrivacyConfig, RetentionConfig
from zapd.config.sections.section import Section
from zapd.config.sections.stores import DatabaseConfig, RedisConfig
from zapd.config.sections.webhooks import WebhooksConfig
from zapd.config.sections.whatsapp import (
    CloudConfig,
    ContactsConfig,
    LimitsConfig,
    MediaConfig,
    SandboxConfig,
    SessionsConfig,
    WebConfig,
    ZapiConfig,
)


class Config(Section):
    """The whole configuration, checked. Made by `load`."""

    state: StateConfig = StateConfig()
    http: HttpConfig = HttpConfig()
    redis: RedisConfig = RedisConfig()
    database: DatabaseConfig = DatabaseConfig()
    limits: LimitsConfig = LimitsConfig()
    jobs: JobsConfig = JobsConfig()
    queues: Mapping[str, QueueConfig] = BUILT_IN
    schedules: Mapping[str, ScheduleConfig] = {}
    webhooks: WebhooksConfig = WebhooksConfig()
    cloud: CloudConfig = CloudConfig()
    zapi: ZapiConfig = ZapiConfig()
    web: WebConfig = WebConfig()
    sandbox: SandboxConfig = SandboxConfig()
    sessions: SessionsConfig = SessionsConfig()
    contacts: ContactsConfig = ContactsConfig()
    media: MediaConfig = MediaConfig()
    drain: DrainConfig = DrainConfig()
    retention: RetentionConfig = RetentionConfig()
    privacy: PrivacyConfig = PrivacyConfig()
    cron: CronConfig = CronConfig()
    events: EventsConfig = EventsConfig()
    email: EmailConfig = EmailConfig()
    definitions: Mapping[tuple[str, str], Defined] = {}
    """By kind and name: what [sources."…"], [mappings."…"], [routes."…"], [targets."…"] and [syncs."…"] define."""
    listeners: Mapping[str, tuple[str, ...]] = {}
    """By type of event."""
    log: LogConfig = LogConfig()

    @property
    def database_url(self) -> str:
        """The database's URL with its asynchronous driver."""
        return self.database.url or f"sqlite+aiosqlite:///{self.state.dir / 'zapd.db'}"

    @property
    def media_dir(self) -> Path:
        """Where files of messages are."""
        return Path(self.media.dir) if self.media.dir else self.state.dir / "media"

    @property
    def public_url(self) -> str:
        """What stands before links to this daemon."""
        return self.media.public_url.rstrip("/") or f"http://{self.http.listen}"

    @property
    def data_key_file(self) -> Path:
        """The file with the key that seals stored secrets."""
        return self.state.data_key_file or self.state.dir / "data.key"
