"""What a person or a part asks of several parts at once. No decisions of its own beyond putting them together."""

from collections.abc import Awaitable, Callable
from typing import Any

from zapd.errors import Unavailable
from zapd.jobs.broker import Broker
from zapd.messaging.accounts import SEND
from zapd.model.session import Connection
from zapd.model.webhook import Delivery
from zapd.store.commands import Row
from zapd.store.connections import ConnectionStore
from zapd.store.outbox import OutboxStore
from zapd.web import answers


class Operations:
    """`redeliver(tenant, id)` queues a delivery again; `session_states` counts the sessions of this daemon."""

    def __init__(
        self,
        *,
        broker: Broker,
        commit: Callable[..., Awaitable[Row | None]],
        outbox_rows: OutboxStore,
        connections: ConnectionStore,
        redeliver: Callable[[str, str], Awaitable[Delivery]],
        session_states: Callable[[], dict[Any, int]],
    ) -> None:
        self._broker = broker
        self._commit = commit
        self._outbox_rows = outbox_rows
        self._connections = connections
        self._redeliver = redeliver
        self._session_states = session_states

    async def reprioritize(self, tenant: str, queue: str, job_id: str, priority: int) -> bool | None:
        """Another priority for a job that waits, also in the row that answers for it. False: it runs; None: none."""
        moved = await self._broker.reprioritize(queue, job_id, priority)
        if moved is not False:
            await self._commit(self._outbox_rows.reprioritized(tenant, job_id, priority))
        if moved is None:  # not in Redis yet: it may have come meanwhile, as it was
            moved = await self._broker.reprioritize(queue, job_id, priority)
        return moved

    async def retry_delivery(self, tenant: str, delivery_id: str) -> Delivery:
        """Deliver once more. Raises NotFound, Conflict."""
        return await self._redeliver(tenant, delivery_id)

    async def limit_lane(self, connection: Connection) -> None:
        """Let the connection's own rate hold in Redis; without one the queue's default does."""
        await self._broker.limit_lane(SEND, connection.key, per_minute=connection.rate_per_minute, burst=None, cap=None)

    async def limit_lanes(self, lost_at: int) -> None:
        """Redis had lost its data by then (ms): the connections' own rates, and what each had sent of its burst.

        A connection that was made later has sent nothing that could be forgotten.
        """
        for connection in await self._connections.wanted():
            if connection.rate_per_minute is not None:
                await self.limit_lane(connection)
            if connection.created_at < lost_at:
                await self._broker.spend_burst(SEND, connection.key)

    async def next_send_at(self, connection: Connection) -> int | None:
        """When its next message may leave (ms); None: at once, or Redis is away and nobody knows."""
        try:
            return await self._broker.lane_free_at(SEND, connection.key)
        except Unavailable:
            return None

    # --- figures for /status ---

    async def queue_numbers(self) -> dict[str, Any]:
        """Per queue: its counts."""
        found = {}
        for queue in self._broker.queues:
            stats = await self._broker.stats(queue)
            found[queue] = {
                "waiting": stats.waiting + stats.staged,
                "active": stats.active,
                "delayed": stats.delayed,
                "dead": stats.dead,
                "paused": stats.paused,
            }
        return found

    async def session_numbers(self) -> dict[str, int]:
        """Sessions of this daemon by state."""
        return {str(state): count for state, count in self._session_states().items()}

    async def outbox_numbers(self) -> dict[str, int | str | None]:
        """Jobs that SQL answers for, and since when the oldest is there."""
        return {"rows": await self._outbox_rows.count(), "oldest_at": answers.at(await self._outbox_rows.oldest())}
