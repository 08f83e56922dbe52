"""Events and their delivery to endpoints."""

import os
import random

from zapd.announce import Announcer
from zapd.backoff import Backoff
from zapd.parts.basis import Basis, now_ms
from zapd.parts.engine import Engine
from zapd.parts.network import Network
from zapd.parts.storage import Storage
from zapd.webhooks.delivery import Deliverer
from zapd.webhooks.endpoints import Endpoints
from zapd.webhooks.fanout import Fanout
from zapd.webhooks.metrics import WebhookMetrics


class Webhooks:
    """What announces events, and what delivers them."""

    def __init__(self, basis: Basis, storage: Storage, network: Network, engine: Engine) -> None:
        queue = basis.config.queues["webhook:delivery"]
        self.metrics = WebhookMetrics(registry=basis.registry)
        self.endpoints = Endpoints(
            guard=network.guard, resolver=network.resolver, ids=basis.ids, now_ms=now_ms, random_bytes=os.urandom
        )
        self.fanout = Fanout(
            endpoints=storage.endpoints,
            deliveries=storage.deliveries,
            ids=basis.ids,
            priority=queue.priority,
            metrics=self.metrics,
        )
        self.announcer = Announcer(events=storage.events, fan_out=self.fanout.changes, ids=basis.ids)
        self.deliverer = Deliverer(
            deliveries=storage.deliveries,
            endpoints=storage.endpoints,
            fanout=self.fanout,
            client=network.client,
            commit=engine.outbox.commit,
            announce=self.announcer.announce,
            now_ms=now_ms,
            random=random.random,
            ids=basis.ids,
            priority=queue.priority,
            backoff=Backoff(base=queue.backoff, factor=queue.backoff_factor),
            metrics=self.metrics,
        )
