"""Rules between keys: each value is right by itself and the pair is a trap."""

import base64
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from zapd.config.queues import ACTIONS, BUILT_IN, MAX_NAME, NAME, QueueConfig
from zapd.config.schedules import MIN_EVERY, RESERVED, SELFTEST, ScheduleConfig
from zapd.config.sections import Config
from zapd.config.sources import Keys

ID = r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}"  #: as clients choose them over the API


@dataclass(frozen=True)
class Problem:
    """`keys` is what to change; `involved` are the other keys of the rule."""

    keys: Keys
    rule: str
    involved: tuple[Keys, ...] = ()


def problems(config: Config) -> Iterator[Problem]:
    """Every broken rule between keys."""
    for name, queue in config.queues.items():
        yield from _queue(name, queue)
    for name, schedule in config.schedules.items():
        yield from _schedule(name, schedule, {q: queue for q, queue in config.queues.items() if queue.action})
    yield from _times(config)
    limits = config.limits
    if limits.new_contacts_per_day and limits.new_contacts_first_day > limits.new_contacts_per_day:
        yield Problem(
            ("limits", "new_contacts_first_day"),
            f"should be at most new_contacts_per_day ({limits.new_contacts_per_day})",
            (("limits", "new_contacts_per_day"),),
        )
    yield from _one_place_only(config)
    if config.redis.password and config.redis.url == "embedded":
        yield Problem(
            ("redis", "password"),
            "is for an external Redis; the embedded one needs none. Set redis.url or remove it",
            (("redis", "url"),),
        )


def _queue(name: str, queue: QueueConfig) -> Iterator[Problem]:
    here = ("queues", name)
    if not re.match(NAME, name) or len(name) > MAX_NAME:
        yield Problem(here, f"a queue's name is up to {MAX_NAME} of a-z 0-9 _ . - with colons between words")
    if queue.concurrency > queue.max_concurrency:
        yield Problem(
            (*here, "concurrency"),
            f"should be at most max_concurrency ({queue.max_concurrency})",
            ((*here, "max_concurrency"),),
        )
    if name in BUILT_IN and queue.action:
        yield Problem((*here, "action"), "is only for queues of your own; this one is zapd's and has its work")
    elif queue.action == "flow":
        yield Problem((*here, "action"), f"there are no flows in this release; should be one of: {', '.join(ACTIONS)}")
    elif name not in BUILT_IN and queue.action not in ACTIONS:
        yield Problem((*here, "action"), f"should be one of: {', '.join(ACTIONS)}")
    yield from _action(here, queue)


def _action(here: Keys, queue: QueueConfig) -> Iterator[Problem]:
    """The keys that belong to one action only."""
    for action, keys in (("webhook", ("endpoint", "url", "secret")), ("listener", ("listener",))):
        for key in keys:
            if getattr(queue, key) and queue.action != action:
                yield Problem((*here, key), f'is only for action = "{action}"', ((*here, "action"),))
    if queue.action == "listener" and not queue.listener:
        yield Problem((*here, "listener"), 'should name a callable such as "package.module:name"')
    if queue.action != "webhook":
        return
    if bool(queue.endpoint) == bool(queue.url):
        yield Problem((*here, "endpoint"), "should be the id of an endpoint; or give url and secret instead")
    elif queue.url and not _is_secret(queue.secret):
        yield Problem((*here, "secret"), 'should be "whsec_" and base64 of 24 to 64 bytes: every POST is signed')


def _is_secret(text: str) -> bool:
    try:
        key = base64.b64decode(text.removeprefix("whsec_").encode("ascii"), validate=True)
    except ValueError:  # also what binascii and the encoding say
        return False
    return text.startswith("whsec_") and 24 <= len(key) <= 64


def _schedule(name: str, schedule: ScheduleConfig, own: Mapping[str, QueueConfig]) -> Iterator[Problem]:
    here = ("schedules", name)
    if not re.fullmatch(ID, name) or name in (RESERVED, SELFTEST):
        rule = (
            f"a schedule's name is up to 64 of A-Z a-z 0-9 . _ : - and not {RESERVED} or {SELFTEST}, which are zapd's"
        )
        yield Problem(here, rule)
    if bool(schedule.cron) == (schedule.every is not None):
        yield Problem((*here, "cron"), "should be given, or every, and not both", ((*here, "every"),))
    if schedule.every is not None and schedule.every < MIN_EVERY:
        yield Problem((*here, "every"), f"should be at least {MIN_EVERY:g}s")
    if bool(schedule.queue) == bool(schedule.emit):
        yield Problem((*here, "queue"), "should be given, or emit, and not both", ((*here, "emit"),))
    elif schedule.queue and schedule.queue not in own:
        yield Problem((*here, "queue"), f"should be one of: {', '.join(own) or 'there is none; define a queue first'}")
    elif schedule.queue and own[schedule.queue].kinds and schedule.kind not in own[schedule.queue].kinds:
        yield Problem((*here, "kind"), f"{schedule.queue} takes {', '.join(own[schedule.queue].kinds)}")


def _times(config: Config) -> Iterator[Problem]:
    delivery = config.queues["webhook:delivery"]
    if config.webhooks.timeout > delivery.timeout:
        yield Problem(
            ("webhooks", "timeout"),
            f"should be at most the timeout of webhook:delivery ({delivery.timeout:g}s), or a slow POST runs twice",
            (("queues", "webhook:delivery", "timeout"),),
        )
    if config.jobs.lease < 3 * config.jobs.heartbeat:
        yield Problem(
            ("jobs", "lease"),
            f"should be at least three heartbeats ({3 * config.jobs.heartbeat:g}s), or a late one runs jobs twice",
            (("jobs", "heartbeat"),),
        )
    if config.retention.events < config.retention.deliveries:
        yield Problem(
            ("retention", "events"),
            "should be at least retention.deliveries: a delivery that is retried needs its event",
            (("retention", "deliveries"),),
        )


def _one_place_only(config: Config) -> Iterator[Problem]:
    send, delivery = config.queues["message:send"], config.queues["webhook:delivery"]
    if (send.lane_rate, send.lane_burst) != (None, 1):
        key = "lane_rate" if send.lane_rate is not None else "lane_burst"
        yield Problem(("queues", "message:send", key), "set [limits] session_per_minute and session_burst instead")
    if delivery.lane_cap != BUILT_IN["webhook:delivery"].lane_cap:
        yield Problem(("queues", "webhook:delivery", "lane_cap"), "set [webhooks] endpoint_concurrency instead")
