"""What of a new configuration a running daemon cannot take: it says so, instead of going on as if it had."""

from collections.abc import Mapping
from typing import TypeVar

from pydantic import BaseModel

from zapd.config.queues import QueueConfig
from zapd.config.sections import Config

K = TypeVar("K")
V = TypeVar("V")

#: Keys that are taken at once; of queues it is all but these.
_TAKEN: Mapping[str, frozenset[str]] = {
    "jobs": frozenset(
        ("max_in_flight", "rate", "burst", "tenant_rate", "tenant_burst", "tenant_max_in_flight", "tenants")
    ),
    "limits": frozenset(("session_per_minute", "session_burst")),
    "webhooks": frozenset(("endpoint_concurrency",)),
    "cron": frozenset(("cleanup", "selftest")),
}
_FIXED = ("action", "endpoint", "url", "secret", "listener", "keep_dead")
_NAMED = frozenset(("queues", "schedules", "definitions", "listeners"))


def needs_restart(started: Config, now: Config) -> list[str]:
    """The keys that differ from what the daemon started with and are not taken, such as `queues.billing:check`."""
    found = [
        f"{name}.{key}"
        for name in Config.model_fields
        if name not in _NAMED
        for key in _changed(getattr(started, name), getattr(now, name))
        if key not in _TAKEN.get(name, ())
    ]
    found += _queues(started.queues, now.queues)
    found += [f"listeners.{name}" for name in _different(started.listeners, now.listeners)]
    return found


def _queues(started: Mapping[str, QueueConfig], now: Mapping[str, QueueConfig]) -> list[str]:
    found = [f"queues.{name}" for name in {**started, **now} if (name in started) != (name in now)]
    for name in started:
        if name in now:
            found += [f"queues.{name}.{key}" for key in _changed(started[name], now[name]) if key in _FIXED]
    return found


def _changed(started: BaseModel, now: BaseModel) -> list[str]:
    return [key for key in type(started).model_fields if getattr(started, key) != getattr(now, key)]


def _different(started: Mapping[K, V], now: Mapping[K, V]) -> list[K]:
    return [key for key in {**started, **now} if started.get(key) != now.get(key)]
