"""Actions are done here, each as a job of its own: its tries, its waits, and its end are rows in SQL.

The tries are counted in the row and not by the queue, because each action has its own number of them; to the queue a
further try is a wait. What an action makes inside zapd (an event, a job, a delivery) is committed together with its
end, so it is made once; what leaves zapd carries the action's id, so that a repeat after a crash can be recognised.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson
import structlog

from zapd import failpoint
from zapd.announce import Announcer
from zapd.backoff import Backoff
from zapd.errors import Conflict, NotFound, ZapdError
from zapd.events.envelope import ACT, QUEUE
from zapd.events.expressions import BadExpression
from zapd.events.metrics import HubMetrics
from zapd.events.planning import Planner, failure_of
from zapd.ids import Ids
from zapd.jobs.job import Discard, Done, Job, Outcome, Snooze
from zapd.model.hub import OPEN, ActionRow, ActionState, EventState
from zapd.model.webhook import Category, Event, Severity
from zapd.store.actions import ActionStore
from zapd.store.commands import Change, Row
from zapd.store.event_states import EventStateStore
from zapd.store.events import EventStore
from zapd.telemetry.redaction import redacted

log = structlog.get_logger("zapd.events")

DELIVERY, NOTIFICATION = "webhook:delivery", "notification:send"
_QUEUES = {"deliver": DELIVERY, "email": NOTIFICATION, "notify": NOTIFICATION}
_BUILT_IN_LISTENERS = frozenset({"email", "whatsapp"})
LONGEST_WAIT = 6 * 3_600.0  #: seconds between two tries
FACTOR = 3.0
MAX_TEXT = 1_000


class ActionFailed(ZapdError):
    """It did not work. `after`: seconds to wait; `final`: never; not `counts`: it was not even tried.

    What a stranger said is `answer`, which is kept sealed; numbers, addresses and tokens in the message are masked.
    """

    def __init__(
        self,
        message: str,
        *,
        after: float | None = None,
        final: bool = False,
        counts: bool = True,
        answer: bytes | None = None,
    ) -> None:
        super().__init__(redacted(message))
        self.answer = answer
        self.after = after
        self.final = final
        self.counts = counts


@dataclass(frozen=True)
class Effect:
    """It worked. `changes` and `jobs` are committed together with the action's end."""

    result: str = ""
    changes: Sequence[Change] = ()
    jobs: Sequence[Job] = ()
    answer: bytes | None = None  #: of a stranger


@dataclass(frozen=True)
class Doing:
    """An action under way, with the event that it is about."""

    row: ActionRow
    event: Event
    state: EventState
    payload: Mapping[str, Any]


Do = Callable[[Doing], Awaitable[Effect]]


class Actor:
    """Does actions. `doers` by kind; each raises ActionFailed."""

    def __init__(
        self,
        *,
        doers: Mapping[str, Do],
        actions: ActionStore,
        events: EventStore,
        states: EventStateStore,
        planner: Planner,
        announcer: Announcer,
        commit: Callable[..., Awaitable[Row | None]],
        ids: Ids,
        now_ms: Callable[[], int],
        random: Callable[[], float],
        priorities: Mapping[str, int],
        metrics: HubMetrics,
    ) -> None:
        self._doers = doers
        self._actions = actions
        self._events = events
        self._states = states
        self._planner = planner
        self._announcer = announcer
        self._commit = commit
        self._ids = ids
        self._now_ms = now_ms
        self._random = random
        self._priorities = priorities
        self._metrics = metrics

    def job_of(self, row: ActionRow) -> Job:
        """The job that does it. Calls of one target share a lane, so that a slow one holds up itself only."""
        queue = _QUEUES.get(row.kind, QUEUE)
        if row.kind == "listener" and row.place in _BUILT_IN_LISTENERS:
            queue = NOTIFICATION
        to_target = row.kind == "deliver" and not row.place.startswith("endpoint:")
        return Job(
            id=self._ids.new("job"),
            queue=queue,
            kind=ACT,
            payload=orjson.dumps({"action_id": row.id}),
            priority=self._priorities[queue],
            created_at=row.created_at,
            due_at=row.due_at,
            lane=f"target/{row.tenant}/{row.place}" if to_target else "",
            tenant=row.tenant,
        )

    async def handle(self, job: Job) -> Outcome:
        """Handler of every job of kind `action`. The head of the file says what running it again may do."""
        row = await self._actions.get(job.tenant, orjson.loads(job.payload)["action_id"])
        if row is None or row.state in (ActionState.DONE, ActionState.CANCELED):
            return Done()
        if row.state is ActionState.DEAD:  # a person takes it from the dead letters
            row = await self._revived(row)
        early = row.due_at - self._now_ms()
        if early > 1_000:  # Redis lost its data, and with it when the next try is due
            return Snooze(early / 1000)
        try:
            return await self.run(row)
        except ActionFailed as error:
            return await self._failed(row, error)

    async def now(self, row: ActionRow) -> dict[str, str | None]:
        """Do it while somebody waits for it; what failed is tried again by its job. Returns `state` and `error`."""
        try:
            await self.run(row)
        except ActionFailed as error:
            return {"state": "retrying", "error": str(error)}
        except Exception as error:  # whatever it was, the event is kept and its job tries again
            log.warning("action.raised", action_id=row.id, kind=row.kind, error=type(error).__name__)
            return {"state": "retrying", "error": f"{type(error).__name__}"}
        return {"state": "done", "error": None}

    async def run(self, row: ActionRow) -> Outcome:
        """Do it once. Raises ActionFailed, Unavailable."""
        event = await self._events.get(row.tenant, row.event_id)
        state = await self._states.get(row.tenant, row.event_id)
        if event is None or state is None:
            raise ActionFailed("its event is past its retention", final=True)
        try:
            effect = await self._doers[row.kind](await self._doing(row, event, state))
        except BadExpression as error:
            raise ActionFailed(str(error), final=True) from None
        failpoint.reached("action.done")
        done = self._actions.moved(
            row,
            ActionState.DONE,
            at=self._now_ms(),
            attempts=row.attempts + 1,
            result=effect.result[:MAX_TEXT],
            answer=effect.answer,
        )
        if await self._commit(done, *effect.changes, jobs=effect.jobs) is not None:
            self._metrics.acted[row.kind, "done"].inc()
        return Done()

    async def _doing(self, row: ActionRow, event: Event, state: EventState) -> Doing:
        payload = orjson.loads(row.payload)
        if "again" in payload:
            place, payload = await self._planner.again(**payload["again"], event=event, state=state)
            row = replace(row, place=place)
        return Doing(row, event, state, payload)

    async def _failed(self, row: ActionRow, error: ActionFailed) -> Outcome:
        if not error.counts:
            return Snooze(error.after or 1.0)
        attempts = row.attempts + 1
        if error.final or attempts >= row.max_attempts:
            if error.answer:  # who gives it up is told the error only
                now = self._now_ms()
                await self._commit(
                    self._actions.moved(row, ActionState.RETRYING, at=now, attempts=row.attempts, answer=error.answer)
                )
            return Discard("refused" if error.final else "attempts", str(error))
        delay = Backoff(base=row.backoff / 1000, factor=FACTOR).delay(attempts, random=self._random)
        wait = min(max(delay, error.after or 0.0), LONGEST_WAIT)
        now = self._now_ms()
        due = now + round(wait * 1000)
        await self._commit(
            self._actions.moved(
                row,
                ActionState.RETRYING,
                at=now,
                attempts=attempts,
                due_at=due,
                error=str(error)[:MAX_TEXT],
                answer=error.answer,
            )
        )
        self._metrics.acted[row.kind, "retry"].inc()
        return Snooze(wait)

    async def dead(self, job: Job, reason: str, error: str) -> None:
        """It is given up: the row says so, and an event tells who wants to know."""
        row = await self._actions.get(job.tenant, orjson.loads(job.payload)["action_id"])
        if row is None or row.state not in OPEN:
            return
        now = self._now_ms()
        told = self._announcer.announce(
            "action.failed",
            tenant=row.tenant,
            at=now,
            data=failure_of(row, error),
            category=Category.SYSTEM,
            severity=Severity.ERROR,
        )
        text = f"{reason}: {error}"[:MAX_TEXT]
        moved = self._actions.moved(row, ActionState.DEAD, at=now, attempts=row.attempts + 1, error=text)
        if await self._commit(moved, *told.changes, jobs=told.jobs) is not None:
            log.warning("action.dead", action_id=row.id, kind=row.kind, route=row.route, reason=text)
            self._metrics.acted[row.kind, "dead"].inc()

    async def retry(self, tenant: str, action_id: str) -> ActionRow:
        """Do it again, from its first try. Raises NotFound, Conflict when it is not dead or canceled."""
        row = await self._actions.get(tenant, action_id)
        if row is None:
            raise NotFound(f"there is no action {action_id}")
        again = replace(row, state=ActionState.PENDING, attempts=0, due_at=0, created_at=self._now_ms())
        if await self._commit(self._back(row), jobs=[self.job_of(again)]) is None:
            raise Conflict(f"an action that is {row.state} cannot be retried; dead and canceled ones can")
        return again

    async def cancel(self, tenant: str, action_id: str) -> ActionRow:
        """Take it back while it waits. Raises NotFound, Conflict."""
        row = await self._actions.get(tenant, action_id)
        if row is None:
            raise NotFound(f"there is no action {action_id}")
        moved = self._actions.moved(row, ActionState.CANCELED, at=self._now_ms(), attempts=row.attempts)
        if await self._commit(moved) is None:
            raise Conflict(f"an action that is {row.state} cannot be canceled")
        return replace(row, state=ActionState.CANCELED)

    async def _revived(self, row: ActionRow) -> ActionRow:
        await self._commit(self._back(row))
        return replace(row, state=ActionState.PENDING, attempts=0, due_at=0)

    def _back(self, row: ActionRow) -> Change:
        return self._actions.moved(row, ActionState.PENDING, at=self._now_ms(), attempts=0, due_at=0)
