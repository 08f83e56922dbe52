"""Own events: `POST /events`. The 2xx is given after the commit that holds the event."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import orjson

from zapd import failpoint
from zapd.announce import PUBLIC
from zapd.errors import Conflict, FieldError, InvalidInput
from zapd.events.envelope import Envelopes, NewEvent
from zapd.events.metrics import HubMetrics
from zapd.model.webhook import Category
from zapd.store.commands import Change, Row
from zapd.store.events import EventStore
from zapd.store.idempotency import IdempotencyStore

SCOPE = "events"  #: of Idempotency-Key
SYNC_GRACE = 60_000  #: milliseconds after which the queue takes an event that the request itself should have processed

Commit = Callable[..., Awaitable[Row | None]]


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnEvent:
    """An event that somebody posts. `data` is JSON; times in milliseconds since 1970 UTC, `delay` in milliseconds."""

    tenant: str
    type: str
    data: bytes
    id: str | None = None
    occurred_at: int | None = None
    delay: int = 0
    sync: bool = False
    idempotency_key: str | None = None
    fingerprint: bytes | None = None  #: of the request's body; given with `idempotency_key`


@dataclass(frozen=True, kw_only=True, slots=True)
class Accepted:
    """The event is kept. `repeated`: it came before."""

    id: str
    repeated: bool = False


class Intake:
    """Takes own events in."""

    def __init__(
        self,
        *,
        envelopes: Envelopes,
        events: EventStore,
        idempotency: IdempotencyStore,
        commit: Commit,
        now_ms: Callable[[], int],
        metrics: HubMetrics,
    ) -> None:
        self._envelopes = envelopes
        self._events = events
        self._idempotency = idempotency
        self._commit = commit
        self._now_ms = now_ms
        self._metrics = metrics

    async def post(self, own: OwnEvent) -> Accepted:
        """Keep an event. When this returns it is committed, and its rules will run.

        Raises InvalidInput, or Conflict when its id or its key came with something else.
        """
        if own.type in PUBLIC:
            raise InvalidInput(FieldError("type", "is one of zapd's own; receivers must be able to trust those"))
        now = self._now_ms()
        new = self._envelopes.made(
            tenant=own.tenant,
            type=own.type,
            data=orjson.Fragment(own.data),
            category=Category.OWN,
            at=now,
            id=own.id,
            occurred_at=own.occurred_at,
            due_at=now + own.delay if own.delay else 0,
        )
        job = self._envelopes.job(new.state, due_at=now + SYNC_GRACE if own.sync else 0)
        guard, *then = self._guarded(own, new)
        try:
            kept = await self._commit(guard, *then, jobs=[job])
        except Conflict:  # the key is new, the id is not
            kept = None
        failpoint.reached("event.kept")
        if kept is None:
            return await self._before(own, new)
        self._metrics.accepted["own"].inc()
        return Accepted(id=new.event.id)

    def _guarded(self, own: OwnEvent, new: NewEvent) -> list[Change]:
        changes = self._envelopes.changes(new)
        if own.idempotency_key is not None:
            assert own.fingerprint is not None
            answer = orjson.dumps({"id": new.event.id})
            key, at = own.idempotency_key, new.event.created_at
            return [IdempotencyStore.claimed(own.tenant, SCOPE, key, own.fingerprint, answer, at), *changes]
        if own.id is not None:
            return [self._events.recorded_new(new.event), *changes[1:]]
        return changes

    async def _before(self, own: OwnEvent, new: NewEvent) -> Accepted:
        """What came first under this key or id. Raises Conflict when it was something else."""
        self._metrics.accepted["duplicate"].inc()
        first = await self._idempotency.answer(own.tenant, SCOPE, own.idempotency_key, own.fingerprint)
        if first is not None:
            return Accepted(id=orjson.loads(first)["id"], repeated=True)
        event = await self._events.get(own.tenant, new.event.id)
        if event is None or event.type != own.type or not (event.erased or _same_data(event.payload, own.data)):
            raise Conflict(f"event {new.event.id} exists already, with something else in it")
        return Accepted(id=event.id, repeated=True)


def _same_data(payload: bytes, data: bytes) -> bool:
    same: Any = orjson.loads(payload)["data"] == orjson.loads(data)
    return bool(same)
