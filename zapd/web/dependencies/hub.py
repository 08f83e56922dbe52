"""The event hub. Its handlers do what its parts do, so the keys name them whole."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from zapd.events.acting import Actor
from zapd.events.backtest import Backtest
from zapd.events.defining import Definer
from zapd.events.desk import Desk
from zapd.events.ingest import Ingest
from zapd.events.intake import Intake
from zapd.events.quarantine import Quarantine
from zapd.events.registry import Registry
from zapd.events.replaying import Replayer
from zapd.events.syncing import Syncer
from zapd.events.targets import Targets
from zapd.model.hub import Inbound

EVENT_INTAKE = web.AppKey("event_intake", Intake)
INGEST = web.AppKey("ingest", Ingest)
QUARANTINE = web.AppKey("quarantine", Quarantine)
DEFINER = web.AppKey("definer", Definer)
REGISTRY = web.AppKey("registry", Registry)
DESK = web.AppKey("desk", Desk)
ACTOR = web.AppKey("actor", Actor)
REPLAYER = web.AppKey("replayer", Replayer)
BACKTEST = web.AppKey("backtest", Backtest)
TARGETS = web.AppKey("targets", Targets)
SYNCER = web.AppKey("syncer", Syncer)
#: (tenant, event id) → the body as it came, for an inbound event.
EVENT_RAW: web.AppKey[Callable[[str, str], Awaitable[Inbound | None]]] = web.AppKey("event_raw")
#: Seconds in which an inbound webhook's body must have come.
HOOK_DEADLINE = web.AppKey("hook_deadline", float)
