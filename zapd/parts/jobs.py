"""Own queues: how their jobs come in, what they do, and what becomes of those that are given up."""

import random
from collections.abc import Awaitable, Callable

import orjson

from zapd.actions.listener import ListenerAction, find
from zapd.actions.runner import Action, Runner, noop
from zapd.actions.webhook import WebhookAction
from zapd.batches import Batches, BatchMetrics
from zapd.config import Config, QueueConfig
from zapd.dead_letters import Again, DeadLetters
from zapd.enqueue import EnqueueMetrics, Enqueuer
from zapd.model.webhook import BodyFormat, Endpoint, Secret
from zapd.parts.basis import Basis, now_ms
from zapd.parts.engine import Engine
from zapd.parts.messages import Messages
from zapd.parts.network import Network
from zapd.parts.queues import Work
from zapd.parts.storage import Storage
from zapd.parts.webhooks import Webhooks


class Jobs:
    """Built after everything that jobs may be about, and before the pools."""

    def __init__(
        self,
        basis: Basis,
        storage: Storage,
        network: Network,
        engine: Engine,
        webhooks: Webhooks,
        messages: Messages,
        *,
        retry_action: Callable[[str, str], Awaitable[object]],
    ) -> None:
        self._storage, self._network, self._engine, self._webhooks = storage, network, engine, webhooks
        self._config = basis.config
        self.batches = Batches(
            rows=storage.batches,
            commit=engine.outbox.commit,
            announce=webhooks.announcer.announce,
            ids=basis.ids,
            now_ms=now_ms,
            metrics=BatchMetrics(registry=basis.registry),
        )
        self.enqueuer = Enqueuer(
            outbox=engine.outbox,
            rows=storage.outbox,
            stop=engine.stop_job,
            active=engine.runs,
            members=self.batches,
            now_ms=now_ms,
            metrics=EnqueueMetrics(registry=basis.registry),
        )
        self.dead = DeadLetters(
            rows=storage.dead_letters,
            outbox_rows=storage.outbox,
            commit=engine.outbox.commit,
            drop=engine.broker.drop_dead,
            again={
                "message:send": _about("message_id", messages.messaging.retry),
                "webhook:delivery": _about_either(webhooks.resender.revive, retry_action),
            },
            own=frozenset(name for name, queue in basis.config.queues.items() if queue.action),
            kept={name: round(_kept(queue, basis.config) * 1000) for name, queue in basis.config.queues.items()},
            rate=None if basis.config.jobs.retry_rate is None else basis.config.jobs.retry_rate / 60,
            now_ms=now_ms,
        )

    def work(self) -> dict[str, Work]:
        """The work of the queues that the operator defined. Raises ConfigError for a listener that is not there."""
        found: dict[str, Work] = {}
        for name, queue in self._config.queues.items():
            if queue.action:
                live = None if queue.action == "noop" else self._live
                runner = Runner(action=self._action(name, queue), live=live, members=self.batches)
                found[name] = Work(runner.run, runner.dead)
        return found

    def guarded(self, work: Work) -> Work:
        """The same work, with its dead letters in SQL."""
        return Work(self.dead.before(work.handler), self.dead.after(work.dead))

    def _action(self, name: str, queue: QueueConfig) -> Action:
        if queue.action == "listener":
            listener = find(queue.listener, key=f'queues."{name}".listener')
            return ListenerAction(listener=listener, notes=self._engine.notes).run
        if queue.action == "webhook":
            endpoint = self._stored(queue.endpoint) if queue.endpoint else _given(queue)
            post = self._network.client.post
            return WebhookAction(endpoint=endpoint, post=post, now_ms=now_ms, random=random.random).run
        return noop

    async def _live(self, tenant: str, job_id: str) -> bool:
        return await self._storage.outbox.get(tenant, job_id) is not None

    def _stored(self, endpoint_id: str) -> Callable[[str], Awaitable[Endpoint | None]]:
        async def endpoint(tenant: str) -> Endpoint | None:
            known = self._webhooks.fanout.enabled(tenant, endpoint_id)
            if known is not None:
                return known
            stored = await self._storage.endpoints.get(tenant, endpoint_id)
            return stored if stored is not None and stored.enabled else None

        return endpoint


def _given(queue: QueueConfig) -> Callable[[str], Awaitable[Endpoint | None]]:
    """The endpoint that the configuration spells out."""

    async def endpoint(tenant: str) -> Endpoint | None:
        return Endpoint(
            tenant=tenant,
            id="",
            url=queue.url or "",
            types=(),
            connection_id=None,
            format=BodyFormat.STANDARD,
            headers=(),
            secrets=(Secret(value=queue.secret),),
            enabled=True,
            disabled_reason=None,
            created_at=0,
        )

    return endpoint


def _about(field: str, retry: Callable[[str, str], Awaitable[object]]) -> Again:
    """A job whose payload names the thing that is to be retried."""

    async def again(tenant: str, payload: bytes) -> object:
        return await retry(tenant, orjson.loads(payload)[field])

    return again


def _about_either(
    delivery: Callable[[str, str], Awaitable[object]], action: Callable[[str, str], Awaitable[object]]
) -> Again:
    """In webhook:delivery there are deliveries to endpoints, and actions that call targets."""
    of_delivery, of_action = _about("delivery_id", delivery), _about("action_id", action)

    async def again(tenant: str, payload: bytes) -> object:
        return await (of_action if "action_id" in orjson.loads(payload) else of_delivery)(tenant, payload)

    return again


def _kept(queue: QueueConfig, config: Config) -> float:
    return config.retention.dead_jobs if queue.keep_dead is None else queue.keep_dead
