"""Replay: stored events once more, by filter. A dry run says what would happen; a replay hands them to the endpoints
that did not get them (`deliver`), or takes them through today's rules (`routes`).

A replay is a chain of jobs: each takes one page and makes the next one in the same commit, so it goes on after a crash
where it was. Each event's own job is due one after another, at the rate that was asked for.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import orjson
import structlog

from zapd.announce import Announcer
from zapd.events.envelope import QUEUE, REPLAY, Envelopes
from zapd.events.metrics import HubMetrics
from zapd.events.planning import Plan, Planner
from zapd.ids import Ids
from zapd.jobs.job import Done, Job, Outcome
from zapd.model.access import DEFAULT_TENANT
from zapd.model.hub import EventState, Progress
from zapd.model.webhook import Category, Event, Severity
from zapd.store.commands import Change, Row
from zapd.store.event_states import EventStateStore
from zapd.store.events import EventStore
from zapd.store.idempotency import IdempotencyStore

log = structlog.get_logger("zapd.events")

PAGE = 100
MAX_DRY = 1_000  #: events that a dry run looks at
REDELIVER = "redeliver"  #: kind of the job that hands one event to the endpoints again

Mode = Literal["deliver", "routes"]


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which stored events. Times in milliseconds since 1970 UTC."""

    types: tuple[str, ...] = ("*",)
    source: str | None = None
    since: int | None = None
    until: int | None = None
    only_failed: bool = False
    ids: tuple[str, ...] = ()
    limit: int | None = None


class Replayer:
    """`redeliver(event)` gives the deliveries that an event still lacks, and tries the dead ones again."""

    def __init__(
        self,
        *,
        events: EventStore,
        states: EventStateStore,
        planner: Planner,
        envelopes: Envelopes,
        redeliver: Callable[[Event], Awaitable[tuple[Sequence[Change], Sequence[Job]]]],
        announcer: Announcer,
        commit: Callable[..., Awaitable[Row | None]],
        add: Callable[[Sequence[Job]], Awaitable[Sequence[bool]]],
        ids: Ids,
        now_ms: Callable[[], int],
        priority: int,
        metrics: HubMetrics,
    ) -> None:
        self._events = events
        self._states = states
        self._planner = planner
        self._envelopes = envelopes
        self._redeliver = redeliver
        self._announcer = announcer
        self._commit = commit
        self._add = add
        self._ids = ids
        self._now_ms = now_ms
        self._priority = priority
        self._metrics = metrics

    async def dry(self, tenant: str, which: Filter) -> list[dict[str, Any]]:
        """What the rules of today would do about each event, at most MAX_DRY of them. Nothing is done."""
        found: list[dict[str, Any]] = []
        after: str | None = None
        limit = min(which.limit or MAX_DRY, MAX_DRY)
        while len(found) < limit:
            page = await self._page(tenant, which, after, min(PAGE, limit - len(found)))
            for state in page:
                event = await self._events.get(tenant, state.event_id)
                if event is not None and not event.erased:
                    found.append(outcome_of(event, await self._planner.plan(event, state)))
            if not page or which.ids:
                break
            after = page[-1].event_id
        return found

    async def start(self, tenant: str, which: Filter, mode: Mode, rate: float) -> str:
        """Replay at `rate` events a minute; returns the id of the replay. It is committed when this returns."""
        replay = self._ids.new("rpl")
        payload = {"replay": replay, "mode": mode, "rate": rate, "filter": _kept(which), "after": None, "done": 0}
        await self._add([self._job(tenant, REPLAY, payload)])
        return replay

    async def handle(self, job: Job) -> Outcome:
        """Handler of jobs of kind `replay`: one page, and the job of the next, in one commit."""
        payload = orjson.loads(job.payload)
        which = _filter_of(payload["filter"])
        left = PAGE if which.limit is None else min(PAGE, which.limit - payload["done"])
        page = await self._page(job.tenant, which, payload["after"], left)
        start, step = self._now_ms(), 60_000 / payload["rate"]
        jobs = [
            self._job(
                job.tenant,
                REDELIVER,
                {"event_id": state.event_id, "mode": payload["mode"], "run": state.run},
                due_at=start + round(number * step),
            )
            for number, state in enumerate(page)
        ]
        done = payload["done"] + len(page)
        if len(page) == left and left and not which.ids and done != which.limit:
            following = {**payload, "after": page[-1].event_id, "done": done}
            jobs.append(self._job(job.tenant, REPLAY, following, due_at=start + round(len(page) * step)))
            changes: Sequence[Change] = ()
        else:
            changes, told = self._ended(job.tenant, payload, done)
            jobs += told
        # A second run of this job would make other jobs: the claim lets the page happen once.
        claim = IdempotencyStore.claimed(job.tenant, REPLAY, job.id, b"", b"", self._now_ms())
        await self._commit(claim, *changes, jobs=jobs)
        return Done()

    def _ended(self, tenant: str, payload: dict[str, Any], done: int) -> tuple[Sequence[Change], Sequence[Job]]:
        told = self._announcer.announce(
            "replay.finished",
            tenant=tenant,
            at=self._now_ms(),
            data={"replay": payload["replay"], "mode": payload["mode"], "events": done},
            category=Category.SYSTEM,
        )
        return told.changes, told.jobs

    async def one(self, job: Job) -> Outcome:
        """Handler of jobs of kind `redeliver`: one event of a replay."""
        payload = orjson.loads(job.payload)
        state = await self._states.get(job.tenant, payload["event_id"])
        event = await self._events.get(job.tenant, payload["event_id"])
        if state is None or event is None or event.erased or state.run != payload["run"]:
            return Done()  # past its retention, or its body is, or this replay took it already
        if payload["mode"] == "routes":
            await self.again(state)
            return Done()
        changes, jobs = await self._redeliver(event)
        if changes:
            await self._commit(*changes, jobs=jobs)
        return Done()

    async def again(self, state: EventState) -> bool:
        """Take one event through the rules once more. False: it is waiting for that already."""
        now = self._now_ms()
        job = self._envelopes.job(replace(state, due_at=0, created_at=now))
        return await self._commit(self._states.again(state, due_at=now), jobs=[job]) is not None

    async def selftest(self, _job: Job, *, count: int) -> Outcome:
        """Run the newest stored events through today's rules, without doing anything; alarm when one no longer fits."""
        bad: list[dict[str, Any]] = []
        states = await self._states.matching(DEFAULT_TENANT, progress=Progress.DONE, limit=count, newest=True)
        for state in states:
            event = await self._events.get(state.tenant, state.event_id)
            if event is not None and not event.erased:
                outcome = outcome_of(event, await self._planner.plan(event, state))
                bad += [outcome] if outcome["errors"] else []
        self._metrics.selftest.set(len(bad))
        if bad:
            log.error("selftest.failed", events=len(bad), of=len(states), first=bad[0]["errors"][0])
            told = self._announcer.announce(
                "selftest.failed",
                tenant=DEFAULT_TENANT,
                at=self._now_ms(),
                data={"events": len(bad), "of": len(states), "first": bad[:10]},
                category=Category.SYSTEM,
                severity=Severity.ERROR,
            )
            await self._commit(*told.changes, jobs=told.jobs)
        return Done()

    async def _page(self, tenant: str, which: Filter, after: str | None, limit: int) -> list[EventState]:
        if which.ids:
            found = [await self._states.get(tenant, event_id) for event_id in which.ids]
            return [state for state in found if state is not None]
        return await self._states.matching(
            tenant,
            types=which.types,
            source=which.source,
            since=which.since,
            until=which.until,
            progress=Progress.FAILED if which.only_failed else None,
            after=after,
            limit=limit,
        )

    def _job(self, tenant: str, kind: str, payload: dict[str, Any], *, due_at: int = 0) -> Job:
        return Job(
            id=self._ids.new("job"),
            queue=QUEUE,
            kind=kind,
            payload=orjson.dumps(payload),
            priority=self._priority,
            created_at=self._now_ms(),
            due_at=due_at,
            tenant=tenant,
        )


def outcome_of(event: Event, plan: Plan) -> dict[str, Any]:
    """What a plan comes to, for people."""
    errors = [plan.error] if plan.error else [row.error for row in plan.actions if row.error]
    routes = [line["route"] for line in plan.trace.get("routes", []) if line["matched"]]
    actions = [{"route": row.route, "kind": row.kind, "place": row.place} for row in plan.actions]
    return {"event_id": event.id, "type": event.type, "routes": routes, "actions": actions, "errors": errors}


def _kept(which: Filter) -> dict[str, Any]:
    return {**vars(which)}


def _filter_of(kept: dict[str, Any]) -> Filter:
    return Filter(**{**kept, "types": tuple(kept["types"]), "ids": tuple(kept["ids"])})
