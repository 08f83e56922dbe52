"""event:process: an event meets the rules. One transaction writes that it did, why, and everything it led to."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import orjson
import structlog

from zapd import failpoint
from zapd.announce import Announcement, Announcer, together
from zapd.events.envelope import Envelopes, state_of
from zapd.events.metrics import HubMetrics
from zapd.events.planning import Plan, Planner, failure_of
from zapd.jobs.job import Done, Job, Outcome
from zapd.model.hub import ActionRow, ActionState, EventState, Progress
from zapd.model.webhook import Category, Event, Severity
from zapd.store.actions import ActionStore
from zapd.store.commands import Change, Row
from zapd.store.event_states import EventStateStore
from zapd.store.events import EventStore

log = structlog.get_logger("zapd.events")

FAILURES = frozenset({"event.failed", "action.failed"})

FanOut = Callable[[Event], tuple[Sequence[Change], Sequence[Job]]]


class Processor:
    """Takes events through the rules. Running a job again does no harm."""

    def __init__(
        self,
        *,
        events: EventStore,
        states: EventStateStore,
        actions: ActionStore,
        planner: Planner,
        envelopes: Envelopes,
        job_of: Callable[[ActionRow], Job],
        fan_out: FanOut,
        announcer: Announcer,
        commit: Callable[..., Awaitable[Row | None]],
        now_ms: Callable[[], int],
        max_depth: int,
        metrics: HubMetrics,
    ) -> None:
        self._events = events
        self._states = states
        self._actions = actions
        self._planner = planner
        self._envelopes = envelopes
        self._job_of = job_of
        self._fan_out = fan_out
        self._announcer = announcer
        self._commit = commit
        self._now_ms = now_ms
        self._max_depth = max_depth
        self._metrics = metrics

    def routed(self, event: Event) -> tuple[Sequence[Change], Sequence[Job]]:
        """For an event of zapd's own: its way through the rules, if any rule might want it."""
        if not self._planner.concerns(event.tenant, event.type) or _of_itself(event):
            return (), ()
        state = state_of(event, at=event.created_at)
        return [self._states.added(state)], [self._envelopes.job(state)]

    async def handle(self, job: Job) -> Outcome:
        """Handler of event:process for jobs of kind `event`."""
        await self.process(job.tenant, orjson.loads(job.payload)["event_id"])
        return Done()

    async def dead(self, job: Job, reason: str, error: str) -> None:
        """The rules could not be applied to it, time after time: it is marked failed, and `retry-failed` takes it."""
        event_id = orjson.loads(job.payload)["event_id"]
        state = await self._states.get(job.tenant, event_id)
        if state is not None and state.progress is Progress.PENDING:
            await self.fail(state, f"{reason}: {error}")

    async def fail(self, state: EventState, error: str) -> None:
        """The rules cannot be applied to this event."""
        await self._fail(state, Plan(error=error))

    async def process(self, tenant: str, event_id: str, *, hold: int = 0) -> Sequence[ActionRow]:
        """Take one event through the rules; returns what is to be done. Nothing when that happened before.

        With `hold` the listeners' jobs wait so long (ms): the caller runs them itself meanwhile.
        """
        state = await self._states.get(tenant, event_id)
        event = await self._events.get(tenant, event_id)
        if state is None or event is None or state.progress is not Progress.PENDING:
            return ()
        if state.depth > self._max_depth:
            plan = Plan(error=f"{state.depth} events came out of one another by `emit`: this looks like a loop")
        else:
            plan = await self._planner.plan(event, state)
        if plan.error is not None:
            await self._fail(state, plan)
            return ()
        return await self._settle(event, state, plan, hold)

    async def _settle(self, event: Event, state: EventState, plan: Plan, hold: int) -> Sequence[ActionRow]:
        now = self._now_ms()
        deliveries: Sequence[Change] = ()
        jobs: Sequence[Job] = ()
        # Events of zapd's own were handed to the endpoints when they were announced; a replay asks for rules only.
        if event.category is not Category.STATE and state.run == 1:
            deliveries, jobs = self._fan_out(event)
        plan.trace["endpoints"] = len(deliveries)
        guard = self._states.settled(state, Progress.DONE, at=now, trace=orjson.dumps(plan.trace, default=str))
        open_actions = [row for row in plan.actions if row.state is ActionState.PENDING]
        work = [self._job_of(row) for row in open_actions]
        if hold:
            work = [
                replace(job, due_at=now + hold) if row.kind == "listener" else job
                for row, job in zip(open_actions, work, strict=True)
            ]
        rows = [self._actions.added(row) for row in plan.actions]
        told = together(*[self._failed_action(event, row) for row in plan.actions if row.state is ActionState.DEAD])
        done = await self._commit(guard, *rows, *deliveries, *told.changes, jobs=[*jobs, *work, *told.jobs])
        failpoint.reached("event.processed")
        if done is None:
            return ()  # another run was faster
        self._metrics.processed["done"].inc()
        self._metrics.lag.observe(max(0, now - max(state.created_at, state.due_at)) / 1000)
        return open_actions

    def _failed_action(self, event: Event, row: ActionRow) -> Announcement:
        return self._announcer.announce(
            "action.failed",
            tenant=event.tenant,
            at=self._now_ms(),
            data=failure_of(row, row.error or ""),
            category=Category.SYSTEM,
            severity=Severity.ERROR,
        )

    async def _fail(self, state: EventState, plan: Plan) -> None:
        now = self._now_ms()
        told = self._announcer.announce(
            "event.failed",
            tenant=state.tenant,
            at=now,
            data={"event_id": state.event_id, "event_type": state.type, "error": plan.error},
            category=Category.SYSTEM,
            severity=Severity.ERROR,
        )
        trace = orjson.dumps(plan.trace, default=str)
        guard = self._states.settled(state, Progress.FAILED, at=now, trace=trace, error=(plan.error or "")[:1000])
        if await self._commit(guard, *told.changes, jobs=told.jobs) is not None:
            log.warning("event.failed", event_id=state.event_id, type=state.type, error=plan.error)
            self._metrics.processed["failed"].inc()


def _of_itself(event: Event) -> bool:
    """Whether it tells that a rule failed over an event which told the same: following that would never end."""
    return event.type in FAILURES and orjson.loads(event.payload)["data"].get("event_type") in FAILURES
