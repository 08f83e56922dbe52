"""What a person asks of the hub at once: process what waits, try again what failed, the life of one event."""

from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import structlog

from zapd.errors import Conflict, NotFound, Unavailable
from zapd.events.acting import Actor
from zapd.events.processing import Processor
from zapd.events.replaying import Replayer
from zapd.model.hub import ActionRow, ActionState, EventState, Progress
from zapd.store.actions import ActionStore
from zapd.store.event_states import EventStateStore

log = structlog.get_logger("zapd.events")

SYNC_HOLD = 60_000  #: milliseconds that the queue leaves listeners alone which a request runs itself


class Desk:
    """For the API and the command line."""

    def __init__(
        self,
        *,
        states: EventStateStore,
        actions: ActionStore,
        processor: Processor,
        actor: Actor,
        replayer: Replayer,
        now_ms: Callable[[], int],
    ) -> None:
        self._states = states
        self._actions = actions
        self._processor = processor
        self._actor = actor
        self._replayer = replayer
        self._now_ms = now_ms

    async def process(self, tenant: str, limit: int) -> dict[str, int]:
        """Take the oldest events that wait through the rules now, at most `limit`."""
        waiting = await self._states.unprocessed(
            Progress.PENDING, due_before=self._now_ms(), limit=limit, tenant=tenant
        )
        led_to = 0
        for state in waiting:
            try:
                led_to += len(await self._processor.process(tenant, state.event_id))
            except Unavailable:
                raise
            except Exception as error:  # whatever is wrong with one, those behind it are not held up for ever
                log.exception("event.raised", event_id=state.event_id)
                await self._processor.fail(state, f"{type(error).__name__}: {error}")
        return {"processed": len(waiting), "actions": led_to}

    async def retry_failed(self, tenant: str, limit: int) -> dict[str, int]:
        """Take failed events through the rules again, and do dead actions again: the oldest first, at most `limit`."""
        far = 1 << 62
        failed = await self._states.unprocessed(Progress.FAILED, due_before=far, limit=limit, tenant=tenant)
        events = sum([await self._replayer.again(state) for state in failed])
        dead = await self._actions.unfinished(tenant, [ActionState.DEAD], due_before=far, limit=limit - len(failed))
        actions = 0
        for row in dead:
            actions += await _done(self._actor.retry(tenant, row.id))
        return {"events": events, "actions": actions}

    async def at_once(self, tenant: str, event_id: str) -> list[dict[str, Any]]:
        """Take an event through the rules and run its listeners, while the caller waits; returns how each ended."""
        rows = await self._processor.process(tenant, event_id, hold=SYNC_HOLD)
        ended = []
        for row in rows:
            if row.kind == "listener":
                ended.append({"listener": row.place, "action_id": row.id, **await self._actor.now(row)})
        return ended

    async def life(self, tenant: str, event_id: str) -> tuple[EventState, list[ActionRow]] | None:
        """Where an event is on its way through the rules, and what is done about it; None: no rule ever wanted it."""
        state = await self._states.get(tenant, event_id)
        return None if state is None else (state, await self._actions.of_event(tenant, event_id))

    async def why(self, tenant: str, event_id: str) -> dict[str, Any]:
        """Each rule that the event met: matched, or not, and because of what. Raises NotFound."""
        state = await self._states.get(tenant, event_id)
        if state is None:
            raise NotFound(f"event {event_id} met no rule")
        trace: dict[str, Any] = orjson.loads(state.trace) if state.trace else {}
        return {
            "id": event_id,
            "progress": state.progress,
            "run": state.run,
            "depth": state.depth,
            "cause": state.cause,
            "error": state.error,
            "mapping": trace.get("mapping"),
            "routes": trace.get("routes", []),
            "listeners": trace.get("listeners", []),
            "endpoints": trace.get("endpoints", 0),
        }


async def _done(asked: Awaitable[object]) -> bool:
    try:
        await asked
    except (Conflict, NotFound):
        return False
    return True
