"""What operators change while zapd runs: limits of queues, and what is paused. SQL keeps it, the engine is told.

SQL is the truth, for all daemons: each looks every few seconds for what another has changed, and makes Redis agree. So
a change outlives a restart, the loss of all that Redis holds, and both at once. A limit that was changed here wins over
the file until it is given back (`null`); a reload of the file changes the others.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import structlog
from pydantic import BaseModel, ValidationError

from zapd.config import Config
from zapd.config.queues import QueueConfig, TenantLimits
from zapd.config.sections import JobsConfig
from zapd.errors import FieldError, InvalidInput, Unavailable
from zapd.jobs.broker import Broker, Pauses
from zapd.jobs.dispatcher import Dispatcher
from zapd.refresher import Refresher
from zapd.store.commands import Change, Row
from zapd.store.settings import SettingStore

log = structlog.get_logger("zapd.controls")

CHANGEABLE = (
    "priority",
    "concurrency",
    "max_concurrency",
    "clear_within",
    "attempts",
    "backoff",
    "backoff_factor",
    "timeout",
    "rate",
    "burst",
    "max_in_flight",
    "lane_cap",
    "lane_rate",
    "lane_burst",
)
MOST_PAUSED = 10_000  #: lanes, and kinds, of one queue
OF_ALL = ("max_in_flight", "rate", "burst", "tenant_rate", "tenant_burst", "tenant_max_in_flight", "tenants")
_OF_ALL = "jobs"  # the setting that holds what was changed of these


@dataclass(kw_only=True)
class Kept:
    """What was changed of one queue. `limits` as they were given."""

    limits: dict[str, Any] = field(default_factory=dict)
    paused: bool = False
    kinds: set[str] = field(default_factory=set)
    lanes: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, value: bytes) -> "Kept":
        """As it was stored."""
        found = orjson.loads(value)
        return cls(limits=found["limits"], paused=found["paused"], kinds=set(found["kinds"]), lanes=set(found["lanes"]))

    def stored(self) -> bytes:
        """As it is stored."""
        shown = {"limits": self.limits, "paused": self.paused}
        return orjson.dumps({**shown, "kinds": sorted(self.kinds), "lanes": sorted(self.lanes)})

    @property
    def pauses(self) -> Pauses:
        """What is paused, as the engine says it."""
        return Pauses(paused=self.paused, kinds=frozenset(self.kinds), lanes=frozenset(self.lanes))


class Controls:
    """A Service. `apply` tells the engine a queue's settings, with the names of those that were changed here.

    `apply_all` tells it the limits over all queues.
    """

    name = "controls"

    def __init__(
        self,
        *,
        config: Config,
        settings: SettingStore,
        commit: Callable[..., Awaitable[Row | None]],
        broker: Broker,
        dispatcher: Callable[[], Dispatcher],
        apply: Callable[[str, QueueConfig, frozenset[str]], None],
        apply_all: Callable[[JobsConfig], None],
    ) -> None:
        self._config = config
        self._settings = settings
        self._commit = commit
        self._broker = broker
        self._dispatcher = dispatcher
        self._apply = apply
        self._apply_all = apply_all
        self._kept = {name: Kept() for name in config.queues}
        self._odd: dict[str, Pauses] = {}  # what Redis had otherwise than SQL at the last look
        self.changed_of_all: Mapping[str, Any] = {}  #: limits over all queues, as they were given
        self._known = False
        self._holding = False  # all is paused here, and not yet in SQL and Redis
        self._turn = asyncio.Lock()
        self._refresher = Refresher(what="controls", refresh=self._refresh)
        self.queues: dict[str, QueueConfig] = dict(config.queues)  #: as they are now; the dictionary stays the same
        self.of_all: JobsConfig = config.jobs  #: as it is now

    # --- limits ---

    def changed(self, queue: str) -> Mapping[str, Any]:
        """The limits that hold instead of the file's, as they were given."""
        return self._kept[queue].limits

    async def change(self, queue: str, changes: Mapping[str, Any]) -> None:
        """Other limits from now on, here at once and on the other daemons within seconds; None takes the file's.

        Raises InvalidInput naming what is allowed, and changes nothing then.
        """
        async with self._turn:
            kept = self._kept[queue]
            limits = {name: value for name, value in {**kept.limits, **changes}.items() if value is not None}
            self._effective(queue, limits)
            await self._save(queue, Kept(limits=limits, paused=kept.paused, kinds=kept.kinds, lanes=kept.lanes))

    async def change_all(self, changes: Mapping[str, Any]) -> None:
        """Other limits over all queues; None takes the file's, and so it does for a tenant. Raises InvalidInput."""
        async with self._turn:
            changed = {**self.changed_of_all, **changes}
            if changes.get("tenants"):
                tenants = {**(self.changed_of_all.get("tenants") or {}), **changes["tenants"]}
                changed["tenants"] = {name: given for name, given in tenants.items() if given is not None} or None
            changed = {name: value for name, value in changed.items() if value is not None}
            self._effective_of_all(changed)
            await self._commit(self._settings.put(_OF_ALL, orjson.dumps(changed)))
            self._take_all(changed)

    def reload(self, config: Config) -> None:
        """A new file: what was changed here stays."""
        self._config = config
        for name in self._kept:
            if name in config.queues:  # taken out of the file: it goes on as it is until a restart
                self._take(name, self._kept[name])
        self._take_all(self.changed_of_all)

    # --- pauses ---

    def pauses(self) -> Mapping[str, Pauses]:
        """What is paused, by queue; queues without a pause are left out."""
        return {name: kept.pauses for name, kept in self._kept.items() if kept.pauses.any}

    def paused(self) -> str:
        """The queues that are paused as a whole, for one line of text."""
        names = list(self._kept) if self._holding else [name for name, kept in self._kept.items() if kept.paused]
        return "all queues" if names and len(names) == len(self._kept) else " ".join(names)

    async def pause(self, queue: str, *, kind: str | None = None, lane: str | None = None, paused: bool = True) -> None:
        """The queue, one kind of its jobs, or one lane; over restarts and on every daemon. Redis may be away."""
        async with self._turn:
            kept = self._kept[queue]
            kinds, lanes = set(kept.kinds), set(kept.lanes)
            if kind is not None:
                _switch(kinds, kind, paused, "kind")
            if lane is not None:
                _switch(lanes, lane, paused, "lane")
            whole = paused if kind is None and lane is None else kept.paused
            await self._save(queue, Kept(limits=kept.limits, paused=whole, kinds=kinds, lanes=lanes))
            await self._try_to_settle([queue])
        if not paused:
            self._dispatcher().wake(queue)

    async def pause_all(self, *, paused: bool = True) -> None:
        """Every queue: here at once, everywhere and for good as soon as SQL and Redis have it.

        Raises Unavailable when SQL has it not yet; it is tried until it has.
        """
        dispatcher = self._dispatcher()
        self._holding = paused
        dispatcher.hold(paused)
        async with self._turn:
            await self._switch_all(paused=paused)
        for name in self._kept:
            dispatcher.wake(name)

    async def _switch_all(self, *, paused: bool) -> None:
        new = {
            name: Kept(limits=kept.limits, paused=paused, kinds=kept.kinds, lanes=kept.lanes)
            for name, kept in self._kept.items()
        }
        await self._commit(*[self._settings.put(_name(name), kept.stored()) for name, kept in new.items()])
        self._kept.update(new)
        if await self._try_to_settle(new) and self._holding:
            self._holding = False  # Redis holds it from here on, so that one queue can be resumed by itself
            self._dispatcher().hold(False)

    # --- keeping SQL, Redis and ourselves the same ---

    async def run(self) -> None:
        """Look for changes of other daemons every few seconds until `stop`."""
        await self._refresher.run()

    async def stop(self) -> None:
        """End `run`."""
        self._refresher.stop()

    async def _refresh(self) -> None:
        async with self._turn:
            if self._holding:
                await self._switch_all(paused=True)
            await self._load()
            await self._look()

    async def restore(self) -> None:
        """Redis lost its data: what is paused is paused again before the first job is back. Raises Unavailable."""
        async with self._turn:
            if not self._known:
                await self._load()
            for name in self._kept:
                await self._settle(name, await self._broker.pauses(name))

    async def _load(self) -> None:
        for name in self._kept:
            value = await self._settings.get(_name(name))
            if value is not None:
                self._take(name, Kept.of(value))
        value = await self._settings.get(_OF_ALL)
        self._take_all(orjson.loads(value) if value else {})
        self._known = True

    async def _save(self, queue: str, kept: Kept) -> None:
        change: Change = self._settings.put(_name(queue), kept.stored())
        await self._commit(change)
        self._take(queue, kept)

    def _take(self, queue: str, kept: Kept) -> None:
        try:
            now = self._effective(queue, kept.limits)
        except InvalidInput as error:  # the file changed below a limit that was set here
            log.error("controls.limits_refused", queue=queue, reason=str(error))
            now, kept.limits = self._config.queues[queue], {}
        self._kept[queue] = kept
        self.queues[queue] = now
        self._apply(queue, now, frozenset(kept.limits))

    def _take_all(self, changed: Mapping[str, Any]) -> None:
        try:
            now = self._effective_of_all(changed)
        except InvalidInput as error:
            log.error("controls.limits_refused", reason=str(error))
            now, changed = self._config.jobs, {}
        self.changed_of_all = changed
        if now != self.of_all or not self._known:
            self.of_all = now
            self._apply_all(now)

    def _effective_of_all(self, changed: Mapping[str, Any]) -> JobsConfig:
        try:
            given = JobsConfig.model_validate(dict(changed))
        except ValidationError as error:
            raise InvalidInput(
                *[_refused(JobsConfig, found["loc"], found["msg"]) for found in error.errors()]
            ) from None
        values = {name: getattr(given, name) for name in changed}
        if "tenants" in values:
            values["tenants"] = {**self._config.jobs.tenants, **values["tenants"]}
        return self._config.jobs.model_copy(update=values)

    def _effective(self, queue: str, limits: Mapping[str, Any]) -> QueueConfig:
        try:
            given = QueueConfig.model_validate(dict(limits))
        except ValidationError as error:
            raise InvalidInput(
                *[_refused(QueueConfig, found["loc"], found["msg"]) for found in error.errors()]
            ) from None
        if strange := set(limits).difference(CHANGEABLE):
            raise InvalidInput(*[FieldError(name, f"one of {', '.join(CHANGEABLE)}") for name in sorted(strange)])
        now = self._config.queues[queue].model_copy(update={name: getattr(given, name) for name in limits})
        if now.concurrency > now.max_concurrency:
            field_ = "concurrency" if "concurrency" in limits else "max_concurrency"
            rule = f"should leave concurrency ({now.concurrency}) at most max_concurrency ({now.max_concurrency})"
            raise InvalidInput(FieldError(field_, rule))
        return now

    async def _try_to_settle(self, queues: Iterable[str]) -> bool:
        try:
            for name in queues:
                await self._settle(name, await self._broker.pauses(name))
        except Unavailable as error:  # the next look makes up for it, and meanwhile nothing is claimed anyway
            log.warning("controls.unsettled", reason=str(error)[:200])
            return False
        return True

    async def _look(self) -> None:
        """Make Redis agree, but only with what we saw twice: another daemon may be between its SQL and its Redis."""
        for name, kept in self._kept.items():
            found = await self._broker.pauses(name)
            if found != kept.pauses and self._odd.get(name) == found:
                await self._settle(name, found)
            self._odd[name] = found

    async def _settle(self, queue: str, found: Pauses) -> None:
        wanted = self._kept[queue].pauses
        if found.paused != wanted.paused:
            await (self._broker.pause if wanted.paused else self._broker.resume)(queue)
        for kind in found.kinds ^ wanted.kinds:
            await self._broker.pause_kind(queue, kind, paused=kind in wanted.kinds)
        for lane in found.lanes ^ wanted.lanes:
            await self._broker.pause_lane(queue, lane, paused=lane in wanted.lanes)


def _name(queue: str) -> str:
    return f"queue:{queue}"


def _switch(among: set[str], name: str, paused: bool, what: str) -> None:
    if not paused:
        among.discard(name)
    elif len(among) >= MOST_PAUSED:
        raise InvalidInput(FieldError(what, f"at most {MOST_PAUSED:,} are paused at a time"))
    else:
        among.add(name)


def _refused(kind: type[BaseModel], at: Sequence[Any], message: str) -> FieldError:
    """With the whole range, where there is one."""
    name = ".".join(map(str, at))
    if kind is JobsConfig and at[0] == "tenants" and len(at) > 2:
        kind, at = TenantLimits, at[2:]
    known = kind.model_fields.get(at[0])
    bounds = {type(bound).__name__: bound for bound in known.metadata} if known else {}
    if "Ge" in bounds and "Le" in bounds:
        return FieldError(name, f"should be a number from {bounds['Ge'].ge} to {bounds['Le'].le:,}")
    among = OF_ALL if kind is JobsConfig else tuple(kind.model_fields) if kind is TenantLimits else CHANGEABLE
    return FieldError(name, f"one of {', '.join(among)}" if known is None else message.removeprefix("Value error, "))
