"""The sections of the configuration. Durations are seconds, sizes bytes, rates per minute.

The text below a key is its one sentence in config.toml.example; a test compares the two, and the defaults. A key with
`repr=False` is a secret or may hold one: no message and no log shows its value.
"""

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
from zapd.config.sections.whole import Config

__all__ = [
    "CloudConfig",
    "Config",
    "ContactsConfig",
    "CronConfig",
    "DatabaseConfig",
    "DrainConfig",
    "EmailConfig",
    "EventsConfig",
    "HttpConfig",
    "JobsConfig",
    "LimitsConfig",
    "LogConfig",
    "MediaConfig",
    "PrivacyConfig",
    "RedisConfig",
    "RetentionConfig",
    "SandboxConfig",
    "Section",
    "SessionsConfig",
    "StateConfig",
    "WebConfig",
    "WebhooksConfig",
    "ZapiConfig",
]
